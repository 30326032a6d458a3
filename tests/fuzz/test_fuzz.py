"""benchmarks/fuzz.py without atheris: its committed inputs replayed, planted defects that every target notices, how
bytes become text, and what libFuzzer's output says."""

import importlib.util
import json
import sys
import time
from dataclasses import replace

import fuzz
import pytest
import typer
from fuzz import CORPUS, packed, read_corpus, unpack, write_corpus
from trust import fuzz_checks, fuzz_targets, fuzzer
from trust.fuzz_checks import Broken
from trust.fuzz_targets import FORMATS, TARGETS, UNTYPED
from trust.fuzzer import GROWN, TAGS, as_text, assemble, dictionary, pieces_of

import rest_verl.bfcl.verdict.checker as bfcl_checker
import rest_verl.core.regions as regions
import rest_verl.reward.tool_reward as tool_reward
from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats import get_format
from rest_verl.reward.progress import Part, parts_of
from rest_verl.reward.strict import match_best
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import Match


def replay(target):
    for data in read_corpus(packed(target)):
        TARGETS[target].check(data)


@pytest.mark.parametrize("target", TARGETS)
def test_everything_holds_for_every_committed_input(target):
    assert read_corpus(packed(target))
    replay(target)


def test_each_target_has_one_small_packed_corpus():
    files = list(CORPUS.iterdir())
    assert {path.name for path in files} == {f"{target}.jsonl" for target in TARGETS}
    assert sum(path.stat().st_size for path in files) < 300 * 1024


def test_a_packed_corpus_keeps_every_byte_once(tmp_path):
    inputs = [bytes(range(256)), b"", b"\x85\r\n", b"", "\u2028".encode()]
    assert write_corpus(tmp_path / "a.jsonl", inputs) == 4
    assert read_corpus(tmp_path / "a.jsonl") == sorted(set(inputs))
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 4
    unpacked = unpack(inputs, tmp_path / "files")
    assert (unpacked / "da39a3ee5e6b4b0d3255bfef95601890afd80709").read_bytes() == b""  # SHA-1 of nothing
    assert sorted(path.read_bytes() for path in unpacked.iterdir()) == sorted(set(inputs))


def with_span_outside(text, turn):
    return replace(turn, markers=[*turn.markers, (len(text), len(text) + 1)])


def with_shared_bytes(text, turn):
    return replace(turn, think=[*turn.think, (0, len(text))], response=[*turn.response, (0, len(text))])


def with_lost_arguments(text, turn):
    return replace(turn, calls=[replace(call, arguments=(call.whole[1], call.whole[1])) for call in turn.calls])


def parses(change):
    return lambda sound: replace(sound, parse=lambda text: change(text, sound.parse(text)))


def reads(name, arguments):
    """Reads every readable call as another one."""
    call = object.__new__(ToolCall)  # past its own check of types, which tests have
    vars(call).update(name=name, arguments=arguments)
    return lambda sound: replace(sound, read=lambda *asked: sound.read(*asked) and call)


def raising(*asked):
    raise KeyError("planted")


def spin(text, turn):
    begin = time.process_time()
    while time.process_time() < begin + 0.02:
        pass
    return turn


DEFECTS_OF_FORMATS = {
    "a span outside of the text": parses(with_span_outside),
    "spans that share bytes": parses(with_shared_bytes),
    "empty arguments": parses(with_lost_arguments),
    "slow": parses(spin),
    "a parser that raises": lambda sound: replace(sound, parse=raising),
    "a reader that raises": lambda sound: replace(sound, read=raising),
    "a name that is not text": reads(b"f", {}),
    "a value that JSON lacks": reads("f", {"a": [{1}]}),
    "a key that is not text": reads("f", {"a": {1: 2}}),
    "every turn legal": lambda sound: replace(sound, is_legal=lambda text, turn, kind: True),
    "a verdict that is none": lambda sound: replace(sound, is_legal=lambda text, turn, kind: None),
}


@pytest.mark.parametrize("defect", DEFECTS_OF_FORMATS)
def test_the_target_of_each_format_notices(monkeypatch, defect):
    if defect == "slow":
        monkeypatch.setattr(fuzz_checks, "SLOWEST", 0.01)
    # rlla's rule of what is legal is ToolRL's, which looks only at tags.
    for name in [name for name in FORMATS if (name, defect) != ("rlla", "every turn legal")]:
        broken = DEFECTS_OF_FORMATS[defect](get_format(name))
        monkeypatch.setattr(fuzz_targets, "get_format", lambda name, broken=broken: broken)
        with pytest.raises(KeyError if "raises" in defect else Broken):
            replay(name)


def one_part_more(texts, place):
    """A part at the end of what is written, which therefore knows its length."""
    return [*place(texts), Part(len(texts) - 1, len(texts[-1]), 1.0)]


def length_for_amount(texts, place):
    return [part._replace(amount=float(len(texts[-1]))) for part in place(texts)]


def reversed_parts(texts, place):
    return place(texts)[::-1]


@pytest.mark.parametrize("defect", [one_part_more, length_for_amount, reversed_parts])
def test_the_target_of_events_notices(monkeypatch, defect):
    def broken(reward, texts, **given):
        return defect(texts, lambda texts: parts_of(reward, texts, **given))

    monkeypatch.setattr(fuzz_targets, "parts_of", broken)
    with pytest.raises(Broken):
        replay("events")


@pytest.mark.parametrize("format", UNTYPED)
def test_the_target_of_a_format_notices_a_reader_that_ignores_the_schema(monkeypatch, format):
    sound = get_format(format)
    deaf = replace(sound, read=lambda text, call, tools: sound.read(text, call, {}))
    monkeypatch.setattr(fuzz_targets, "get_format", lambda name: deaf)
    with pytest.raises(Broken, match="declared type"):
        replay(format)


def lose_last_token(starts, labels, begins, ends, paint=regions.paint_tokens):
    return paint(starts, labels, begins, [end - 1 for end in ends])


def summed(change):
    """The components of the reward with a change."""
    sound = ToolReward._sum
    return lambda *asked: change(sound(*asked))


OTHER_DEFECTS = {
    "tagger: a call loses its last token": (regions, "paint_tokens", lose_last_token),
    "tagger: one turn a batch": (regions, "turn_edges", lambda mask, starts: regions.np.array([0, mask.sum()])),
    "reward: a share beyond 1": (tool_reward, "match_in_order", lambda *asked: Match(1.5)),
    "reward: any calls earn all": (tool_reward, "match_best", lambda *asked: Match(1.0)),
    "reward: only the first call counts": (tool_reward, "match_best", lambda due, calls: match_best(due, calls[:1])),
    "reward: no calls are exact": (tool_reward, "same_calls", lambda *asked: False),
    "reward: a reward that is no number": (ToolReward, "_length", lambda *asked: float("nan")),
    "reward: a score that is not the sum": (ToolReward, "_sum", summed(lambda found: found | {"score": 0.5})),
    "reward: every turn legal": (ToolReward, "_sum", summed(lambda found: found | {"legal": 1.0})),
    "reward: an unknown component": (ToolReward, "_sum", summed(lambda found: found | {"bonus": 0.0})),
    "reward: a ground truth that raises": (fuzz_targets, "read_ground_truth", raising),
    "bfcl: every argument is right": (fuzz_targets, "accepts", lambda *asked: True),
    "bfcl: no argument is right": (fuzz_targets, "accepts", lambda *asked: False),
    "bfcl: a comparison that raises": (bfcl_checker, "is_accepted", raising),
    "bfcl: a reason as long as the text": (bfcl_checker, "_shorten", lambda name: "x" * 1000),
}


@pytest.mark.parametrize("defect", OTHER_DEFECTS)
def test_the_other_targets_notice(monkeypatch, defect):
    monkeypatch.setattr(*OTHER_DEFECTS[defect])
    with pytest.raises((Broken, KeyError, IndexError) if defect.startswith("tagger") else (Broken, KeyError)):
        replay(defect.partition(":")[0])


PIECES = (b"<a>", b"<b>", b"{")


def test_each_wire_format_has_a_target():
    with pytest.raises(ValueError) as error:
        get_format("")
    assert set(str(error.value).partition("allowed: ")[2].split(", ")) == set(FORMATS) == set(TAGS)
    assert set(TARGETS) == {*FORMATS, "reward", "events", "bfcl", "tagger"}
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
