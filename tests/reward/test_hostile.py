"""Responses that are out to break the reward: a defined score under every preset and format."""

import json

import pytest
from hostile_text import GROWING
from hypothesis import given
from hypothesis import strategies as st
from rewards import ANSWER, BFCL, CALL, THINK, WEATHER, block, reward
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
