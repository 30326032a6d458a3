"""The committed inputs of benchmarks/fuzz.py, replayed without atheris; and every target notices planted defects."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from trust import fuzz_checks, fuzz_targets
from trust.fuzz_checks import Broken
from trust.fuzz_targets import FORMATS, TARGETS

import rest_verl.bfcl.verdict.checker as bfcl_checker
import rest_verl.core.regions as regions
import rest_verl.reward.tool_reward as tool_reward
from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats import get_format
from rest_verl.reward.strict import match_best
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import Match

CORPUS = Path(__file__).parent / "corpus"


def inputs_of(target):
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def replay(target):
    for data in inputs_of(target):
        TARGETS[target].check(data)


@pytest.mark.parametrize("target", TARGETS)
def test_everything_holds_for_every_committed_input(target):
    assert inputs_of(target)
    replay(target)


def test_the_corpus_is_small_and_each_input_is_named_by_its_hash():
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 300 * 1024
    assert all(hashlib.sha1(path.read_bytes()).hexdigest() == path.name for path in files)


def with_span_outside(text, turn):
    return replace(turn, markers=[*turn.markers, (len(text), len(text) + 1)])


def with_shared_bytes(text, turn):
    return replace(turn, think=[*turn.think, (0, len(text))], response=[*turn.response, (0, len(text))])


def with_lost_arguments(text, turn):
    return replace(turn, calls=[replace(call, arguments=(call.whole[1], call.whole[1])) for call in turn.calls])


def parses(change):
    return lambda sound: replace(sound, parse=lambda text: change(text, sound.parse(text)))


def reads(name, arguments):
    """Reads the calls that can be read as another one."""
    return lambda sound: replace(sound, read=lambda *asked: sound.read(*asked) and ToolCall(name, arguments))


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
    "a name that is no text": reads(b"f", {}),
    "a value that JSON lacks": reads("f", {"a": [{1}]}),
    "a key that is no text": reads("f", {"a": {1: 2}}),
    "every turn legal": lambda sound: replace(sound, is_legal=lambda text, turn, kind: True),
    "a judgement that is none": lambda sound: replace(sound, is_legal=lambda text, turn, kind: None),
}


@pytest.mark.parametrize("defect", DEFECTS_OF_FORMATS)
@pytest.mark.parametrize("name", FORMATS)
def test_the_target_of_a_format_notices_a_planted_defect(monkeypatch, name, defect):
    broken = DEFECTS_OF_FORMATS[defect](get_format(name))
    monkeypatch.setattr(fuzz_targets, "get_format", lambda name: broken)
    if defect == "slow":
        monkeypatch.setattr(fuzz_checks, "SLOWEST", 0.01)
    if (name, defect) == ("rlla", "every turn legal"):
        pytest.skip("its rule is ToolRL's, which looks at tags alone")
    with pytest.raises(KeyError if "raises" in defect else Broken):
        replay(name)


def lose_last_token(starts, labels, begins, ends, paint=regions.paint_tokens):
    return paint(starts, labels, begins, [end - 1 for end in ends])


def one_turn_a_batch(mask):
    return regions.np.array([0, mask.sum()])


@pytest.mark.parametrize("name, planted", [("paint_tokens", lose_last_token), ("turn_edges", one_turn_a_batch)])
def test_the_target_of_the_tagger_notices_a_planted_defect(monkeypatch, name, planted):
    monkeypatch.setattr(regions, name, planted)
    with pytest.raises((Broken, IndexError)):
        replay("tagger")


def summed(change):
    """The parts of the reward with a change."""
    sound = ToolReward._sum
    return lambda *asked: change(sound(*asked))


DEFECTS_OF_THE_REWARD = {
    "a share beyond 1": (tool_reward, "match_in_order", lambda *asked: Match(1.5)),
    "any calls earn all": (tool_reward, "match_best", lambda *asked: Match(1.0)),
    "the first call counts alone": (tool_reward, "match_best", lambda due, calls: match_best(due, calls[:1])),
    "no calls are exact": (tool_reward, "same_calls", lambda *asked: False),
    "a reward that is no number": (ToolReward, "_length", lambda *asked: float("nan")),
    "another score than its parts": (ToolReward, "_sum", summed(lambda found: found | {"score": 0.5})),
    "a format reward without a legal turn": (ToolReward, "_sum", summed(lambda found: found | {"legal": 1.0})),
    "an unknown component": (ToolReward, "_sum", summed(lambda found: found | {"bonus": 0.0})),
    "a ground truth that raises": (fuzz_targets, "read_ground_truth", raising),
}


@pytest.mark.parametrize("defect", DEFECTS_OF_THE_REWARD)
def test_the_target_of_the_reward_notices_a_planted_defect(monkeypatch, defect):
    monkeypatch.setattr(*DEFECTS_OF_THE_REWARD[defect])
    with pytest.raises((Broken, KeyError)):
        replay("reward")


DEFECTS_OF_BFCL = {
    "every argument is right": (fuzz_targets, "accepts", lambda *asked: True),
    "no argument is right": (fuzz_targets, "accepts", lambda *asked: False),
    "a comparison that raises": (bfcl_checker, "is_accepted", raising),
    "a reason as long as the text": (bfcl_checker, "_short", lambda name: "x" * 1000),
}


@pytest.mark.parametrize("defect", DEFECTS_OF_BFCL)
def test_the_target_of_bfcl_notices_a_planted_defect(monkeypatch, defect):
    monkeypatch.setattr(*DEFECTS_OF_BFCL[defect])
    with pytest.raises((Broken, KeyError)):
        replay("bfcl")
