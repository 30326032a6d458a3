"""What surrounds the fuzz targets: how bytes become text, what libFuzzer's output says, what is not run again."""

import importlib.util
import json
import sys

import fuzz
import pytest
from fuzz import Finding, fingerprint, finished, group_of, known_targets
from rich.progress import Progress
from trust.fuzz_targets import FORMATS, TARGETS, Target
from trust.fuzz_text import GROWN, TAGS, as_text, assemble, dictionary, pieces_of
from trust.libfuzzer import Statistics, read_statistics
from typer import BadParameter

from rest_verl.formats import get_format

PIECES = (b"<a>", b"<b>", b"{")


def test_there_is_a_target_for_every_wire_format():
    with pytest.raises(ValueError) as error:
        get_format("")
    assert set(str(error.value).partition("allowed: ")[2].split(", ")) == set(FORMATS) == set(TAGS)
    assert set(TARGETS) == {*FORMATS, "reward", "bfcl", "tagger"}


def test_an_even_first_byte_leaves_the_others_as_they_are():
    assert assemble(b"\0\0\1\xff", PIECES) == b"\0\1\xff"
    assert assemble(b"", PIECES) == b""


def test_an_odd_first_byte_makes_each_other_byte_a_piece_or_itself():
    assert assemble(b"\1\0\2\3z\1", PIECES) == b"<a>{\3z<b>"


def test_one_of_the_last_first_bytes_repeats_the_pieces_between_two_bounds():
    text = assemble(b"\xff\1\1" + b"\0\1\2z", PIECES)
    assert text == b"<a>" + b"<b>{" * (GROWN // 4) + b"z"
    assert assemble(b"\xff", PIECES) == assemble(b"\xf8\1", PIECES) == b""


def test_bytes_that_are_no_utf_8_become_lone_surrogates():
    assert as_text("\ud800".encode("utf-8", "surrogatepass")) == "\ud800"
    assert as_text(b"a\xff") == "a\udcff"


def test_the_dictionary_has_every_byte_escaped():
    assert dictionary([b'<a>"', b"{", "ß".encode()]) == '"\\x3C\\x61\\x3E\\x22"\n"\\xC3\\x9F"\n'


@pytest.mark.parametrize("name", FORMATS)
def test_no_piece_is_empty(name):
    assert all(pieces_of(name)) and len(pieces_of(name)) < 128


def test_an_unknown_target_is_answered_with_the_nearest_one():
    assert known_targets("hermes,tagger") == "hermes,tagger"
    with pytest.raises(BadParameter, match="unknown target 'hermez': did you mean 'hermes'"):
        known_targets("tagger,hermez")


WRITTEN = """\
INFO: Instrumenting rest_verl.core.regions
INFO: seed corpus: files: 20 min: 4b max: 288b total: 1130b rss: 350Mb
#21\tINITED cov: 145 ft: 271 corp: 13/838b exec/s: 0 rss: 351Mb
#29\tNEW    cov: 145 ft: 276 corp: 16/943b lim: 288 exec/s: 0 rss: 351Mb L: 96/288 MS: 3 CopyPart-CopyPart-
#256\tpulse  cov: 157 ft: 347 corp: 27/1276b lim: 288 exec/s: 242 rss: 353Mb
#400\tDONE   cov: 157 ft: 377 corp: 31/1362b lim: 288 exec/s: 400 rss: 353Mb
"\\001\\000" # Uses: 5
"""
CLEAN = "CPU seconds: 21\n==1== INFO: libFuzzer: exiting as requested\nstat::number_of_executed_units: 402\n"
CRASHED = " === Uncaught Python exception: ===\nBroken: spans overlap\nstat::number_of_executed_units: 411\n"


def test_the_statistics_are_those_of_the_last_lines():
    assert read_statistics((WRITTEN + CLEAN).splitlines()) == Statistics(402, 21, edges=157, features=377, inputs=31)


def test_a_run_that_a_crash_ended_has_executions_and_no_seconds():
    assert read_statistics((WRITTEN + CRASHED).splitlines()) == Statistics(411, 0, edges=157, features=377, inputs=31)


def test_output_without_statistics_has_none():
    assert read_statistics(["Traceback (most recent call last):", "ImportError: no"]) == Statistics()


def write_finished(folder, seconds, code):
    kept = {
        "fingerprint": code,
        "statistics": {"executions": 9, "seconds": seconds, "edges": 1, "features": 2, "inputs": 1},
    }
    folder.mkdir()
    (folder / "finished.json").write_text(json.dumps(kept))


def test_a_target_that_is_through_is_not_run_again(tmp_path):
    write_finished(tmp_path / "glm", 60, fingerprint("glm"))
    assert finished("glm", 60, tmp_path / "glm") == Finding("glm", Statistics(9, 60, 1, 2, 1), [])
    assert finished("glm", 61, tmp_path / "glm") is None
    assert finished("kimi", 60, tmp_path / "kimi") is None


def test_a_target_whose_code_has_changed_is_run_again(tmp_path, monkeypatch):
    write_finished(tmp_path / "glm", 60, fingerprint("glm"))
    changed = Target(TARGETS["glm"].check, (), (*TARGETS["glm"].sources, "core/formats/kimi.py"))
    monkeypatch.setitem(fuzz.TARGETS, "glm", changed)
    assert finished("glm", 60, tmp_path / "glm") is None


@pytest.mark.parametrize("name", TARGETS)
def test_every_pattern_of_a_targets_sources_names_files(name):
    assert all(list(fuzz.PACKAGE.glob(pattern)) for pattern in TARGETS[name].sources)


def test_the_table_has_a_line_a_target_and_counts_what_broke():
    clean = Finding("hermes", Statistics(12345, 600, 157, 2930, 80), [])
    broken = Finding("glm", Statistics(7, 0, 15, 20, 3), ["broken/crash-1"])
    group = group_of([clean, broken])
    assert group.rows == [["hermes", "12,345", "600", "157", "2,930", "0"], ["glm", "7", "0", "15", "20", "1"]]
    assert group.failures == 1 and group.notes[0].startswith("12,352 executions")


def test_a_process_that_does_not_begin_is_a_failure_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(fuzz.FuzzFailed, match="fuzzing glm ended before its time"):
        fuzz.fuzz("glm", 1, tmp_path, lambda so_far, spent: None)


needs_atheris = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason=fuzz.INSTALL)


@needs_atheris
def test_a_short_run_has_statistics_and_is_not_run_again(tmp_path):
    with Progress(disable=True) as progress:
        (finding,) = fuzz.study(["hermes"], 3, 1, tmp_path, progress)
        assert fuzz.study(["hermes"], 3, 1, tmp_path, progress) == [finding]
    assert finding.statistics.executions > 50 and finding.statistics.seconds >= 3 and finding.broken == []
    assert finding.statistics.features >= finding.statistics.edges > 100


@needs_atheris
def test_an_endless_input_is_interrupted(monkeypatch):
    from trust import fuzz_process

    def endless(data):
        while True:
            pass

    monkeypatch.setattr(fuzz_process, "ENDLESS_SECONDS", 0.05)
    with pytest.raises(TimeoutError, match="an input took"):
        fuzz_process.within(0, endless)(b"")
