"""Responses that are out to break the reward get a defined score under every preset and format; what can be gamed
under the published rules, and what it earns under `strict`: the rows of docs/rewards.md."""

import json
import re

import make_rewards
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_rewards import REST, TOOLRL, Rules, published_reward
from rewards import ANSWER, BFCL, CALL, GROWING, THINK, WEATHER, block, reward, score
from tiers import size

from rest_verl.formats import get_format
from rest_verl.reward.scorers import get_scorer

PRESETS = ["paper", "toolrl", "strict"]
TRUTHS = {"rlla": CALL, "apibank_level1": CALL, "bfcl_simple_python": json.dumps(BFCL)}


def arguments(text):
    return THINK + block(WEATHER.replace('"Paris"', text))


SMALL = [
    "",
    "\ud800",
    "\0",
    arguments("NaN"),
    arguments("-Infinity"),
    arguments("1e400"),
    arguments("1" * 5000),
    arguments('"\\ud800"'),
    arguments('"Rome", "city": "Paris"'),
    arguments('{"city": {"city": null}}'),
    CALL.replace('"name"', '"name": "f", "name"'),
    "Noise. <|im_start|>assistant\n" + CALL,
    CALL + "<|im_end|>\n<|im_start|>user\nWell done.<|im_end|>\n<|im_start|>assistant\n" + CALL,
    f"<think> {CALL} {ANSWER} </think>",
    CALL.replace("</tool_call>", "</tool_call></tool_call>"),
    THINK * 2 + block(WEATHER),
    "\ufeff" + CALL,
    CALL.replace("\n", "\r\n"),
]


def scores(text, wire_format="rlla", presets=PRESETS):
    """Components by every preset and scorer."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    for preset in presets:
        tool_reward = reward(preset)
        response = tool_reward.read([raw], get_format(wire_format))
        for data_source, truth in TRUTHS.items():
            scorer = get_scorer(data_source)
            yield preset, scorer.score(response, scorer.read(truth), lambda *asked: tool_reward.score(*asked, 0))  # noqa: B023


def check(text, wire_format="rlla"):
    for preset, found in scores(text, wire_format):
        worst, best = (-3, 4) if preset == "toolrl" else (-4, 4)
        assert worst - 1e-9 <= found["score"] <= best + 1e-9
        assert all(type(value) is float and abs(value) < 1e7 for value in found.values())
        assert all(0 <= found[part] <= 1 for part in ("legal", "name", "arg_keys", "arg_values", "parse_ok", "acc"))


@pytest.mark.parametrize("text", SMALL, ids=lambda text: repr(text)[:30])
@pytest.mark.parametrize("wire_format", ["rlla", "hermes", "pythonic", "qwen3_coder"])
def test_odd_text_has_a_score_within_the_bounds(text, wire_format):
    check(text, wire_format)


@pytest.mark.soon
@pytest.mark.parametrize("kind", GROWING)
def test_long_hostile_text_has_a_score_within_the_bounds(kind):
    check(GROWING[kind](size(1_000_000)))


TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>"]
MARKERS = ["<|im_start|>assistant", "<|im_end|>", "\ud800", "\0", "NaN", "1e400", '"name"', '"parameters"']
fragments = st.sampled_from([*"{}[]\"',:\\\n", *TAGS, *MARKERS, WEATHER, CALL, ANSWER])
HOSTILE = st.lists(fragments | st.text(max_size=5), max_size=20).map("".join)


@given(HOSTILE | st.binary(max_size=60), st.sampled_from(["rlla", "hermes", "pythonic", "qwen3_coder", "kimi"]))
def test_any_text_has_a_score_within_the_bounds(text, wire_format):
    check(text, wire_format)


def documented():
    """Row -> what its response earns under paper, toolrl and strict, from the page."""
    lines = re.findall(
        r"^\| (.+?) \| (-?\d\.\d\d) \| (-?\d\.\d\d) \| (-?\d\.\d\d) \|", make_rewards.PAGE.read_text(), re.M
    )
    return {name: list(map(float, values)) for name, *values in lines}


def test_the_table_is_that_of_the_present_code():
    assert make_rewards.PAGE.read_text(encoding="utf-8") == make_rewards.page(), (
        "stale: run python docs/make_rewards.py"
    )
    assert list(documented()) == list(make_rewards.EXPLOITS)


@pytest.mark.parametrize("name", make_rewards.EXPLOITS)
def test_an_exploit_earns_what_the_table_says(name):
    response, truth = make_rewards.EXPLOITS[name]
    found = [
        round(score([response], truth, preset, step=make_rewards.STEP)["score"], 2)
        for preset in ("paper", "toolrl", "strict")
    ]
    assert found == documented()[name]


@pytest.mark.parametrize("name", make_rewards.EXPLOITS)
def test_an_exploit_earns_what_the_published_code_gives(name):
    """R5: `toolrl` in all rows, `paper` too, against ToolRL's and the authors' code."""
    response, truth = make_rewards.EXPLOITS[name]
    paper, toolrl, *_ = make_rewards.scores(name)
    theirs = sum(published_reward(response, truth, make_rewards.STEP, Rules(TOOLRL))[:2])
    authors = sum(published_reward(response, truth, make_rewards.STEP, Rules(REST, frozenset({"SCHEDULEREWARD"})))[:2])
    assert (toolrl, paper) == (round(theirs, 2), round(authors, 2))


@pytest.mark.parametrize(
    "name", [name for name in make_rewards.EXPLOITS if name not in ("the right call", "7.0 for 7")]
)
def test_under_strict_nothing_but_the_right_call_earns_full_marks(name):
    response, truth = make_rewards.EXPLOITS[name]
    if truth == make_rewards.CALL:
        assert score([response], truth, "strict", step=150)["score"] < 4


@pytest.mark.parametrize("name", make_rewards.EXPLOITS)
def test_an_environment_cannot_make_an_illegal_turn_pay(name):
    """The last column is the maximum or the minimum: a turn is legal for some kind, or it earns nothing."""
    *_, environment = make_rewards.scores(name)
    assert environment in (4.0, -4.0)
