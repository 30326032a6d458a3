"""What surrounds the fuzz targets: how bytes become text, what libFuzzer's output says."""

import importlib.util
import json
import sys

import fuzz
import pytest
import typer
from trust import fuzzer
from trust.fuzz_targets import FORMATS, TARGETS
from trust.fuzzer import GROWN, TAGS, as_text, assemble, dictionary, pieces_of

from rest_verl.formats import get_format

PIECES = (b"<a>", b"<b>", b"{")


def test_each_wire_format_has_a_target():
    with pytest.raises(ValueError) as error:
        get_format("")
    assert set(str(error.value).partition("allowed: ")[2].split(", ")) == set(FORMATS) == set(TAGS)
    assert set(TARGETS) == {*FORMATS, "reward", "bfcl", "tagger"}
    assert all(all(pieces_of(name)) and len(pieces_of(name)) < 128 for name in FORMATS)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\0\0\1\xff", b"\0\1\xff"),  # an even first byte: raw
        (b"", b""),
        (b"\1\0\2\3z\1", b"<a>{\3z<b>"),  # an odd one: pieces, and bytes beyond them
        (b"\xff\1\1" + b"\0\1\2z", b"<a>" + b"<b>{" * (GROWN // 4) + b"z"),  # pieces 1 and 2 repeated
        (b"\xff", b""),
        (b"\xf8\1", b""),
    ],
)
def test_the_first_byte_decides_how_bytes_become_text(data, text):
    assert assemble(data, PIECES) == text


def test_text_takes_any_bytes_and_the_dictionary_escapes_them():
    assert as_text("\ud800".encode("utf-8", "surrogatepass")) == "\ud800"
    assert as_text(b"a\xff") == "a\udcff"
    assert dictionary([b'<a>"', b"{", "ß".encode()]) == '"\\x3C\\x61\\x3E\\x22"\n"\\xC3\\x9F"\n'


WRITTEN = """\
INFO: Instrumenting rest_verl.core.regions
#21\tINITED cov: 145 ft: 271 corp: 13/838b exec/s: 0 rss: 351Mb
#29\tNEW    cov: 145 ft: 276 corp: 16/943b lim: 288 exec/s: 0 rss: 351Mb L: 96/288 MS: 3 CopyPart-CopyPart-
#400\tDONE   cov: 157 ft: 377 corp: 31/1362b lim: 288 exec/s: 400 rss: 353Mb
"""
CLEAN = "CPU seconds: 21\n==1== INFO: libFuzzer: exiting as requested\nstat::number_of_executed_units: 402\n"
CRASHED = " === Uncaught Python exception: ===\nBroken: spans overlap\nstat::number_of_executed_units: 411\n"


@pytest.mark.parametrize(
    ("log", "numbers"),
    [(WRITTEN + CLEAN, [402, 21, 157, 377, 31]), (WRITTEN + CRASHED, [411, 0, 157, 377, 31]), ("no", [0] * 5)],
)
def test_statistics_are_those_of_the_last_lines(log, numbers):
    assert list(fuzz.read_statistics(log).values()) == numbers


def piece(broke=()):
    return {
        "executions": 12345,
        "seconds": 60,
        "edges": 1,
        "features": 2,
        "inputs": 1,
        "broke": [*broke],
    }


def test_the_table_counts_executions_and_crashes():
    found = fuzz.findings({"hermes": piece(), "glm": piece(["broken/crash-1"])})
    rows = [["hermes", "12,345", "60", "1", "2", 0], ["glm", "12,345", "60", "1", "2", 1]]
    assert found["tables"]["targets"]["rows"] == rows
    assert (found["executions"], found["targets"], found["broken"]) == (24690, 2, ["glm"])


def test_a_process_that_does_not_start_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(fuzz.FuzzFailed, match="fuzzing glm ended before its time"):
        fuzz.fuzz("glm", 1, tmp_path)


def test_an_endless_input_is_interrupted(monkeypatch):
    def endless(data):
        while True:
            pass

    monkeypatch.setattr(fuzzer, "ENDLESS_SECONDS", 0.05)
    with pytest.raises(TimeoutError, match="an input took"):
        fuzzer.limited(endless, 0)(b"")


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason=fuzz.INSTALL)
def test_a_short_run_writes_its_statistics(tmp_path, monkeypatch):
    with pytest.raises(typer.Exit) as done:
        fuzz.main(targets="hermes", minutes=0.05, out=tmp_path)
    assert done.value.exit_code == 0
    found = json.loads((tmp_path / "trust_fuzz.json").read_text())["pieces"]["hermes"]
    assert found["executions"] > 50 and found["seconds"] >= 3 and found["broke"] == []
    assert found["features"] >= found["edges"] > 100
