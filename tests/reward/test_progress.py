"""What a response earned while it was written: parts that depend on the past alone and add up to the score."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parts import text_of
from render import RENDERERS
from rewards import BFCL, CALL, GROWING, THINK, TIME, WEATHER, block, reward
from tiers import examples, size

from rest_verl.bfcl.scorer import read_bfcl
from rest_verl.core.tool_calls import NO_TOOLS, Kind
from rest_verl.formats import get_format
from rest_verl.reward import progress
from rest_verl.reward.progress import parts_of
from rest_verl.reward.truth import DueCall, GroundTruth, read_ground_truth

STEP = 150
DUE = [("get_weather", {"city": "Paris", "days": 3}), ("get_time", {}), ("get_news", {"city": "Rome"})]
TRUTH = GroundTruth(Kind(calls=True, answer=False), [DueCall(name, arguments) for name, arguments in DUE])
NEWS = '{"name": "get_news", "parameters": {"city": "Rome"}}'
RULES = [
    "strict",
    "paper",
    {"rules": "toolrl", "granularity": "intermediate"},
    {"rules": "toolrl", "reading": "parser"},
]


def parts(text, rules="strict", format="rlla", truth=TRUTH):
    texts = [text] if isinstance(text, bytes | str) else text
    raw = [one.encode() if isinstance(one, str) else one for one in texts]
    return parts_of(reward(rules), raw, get_format(format), NO_TOOLS, truth, STEP)


def score(text, rules, format="rlla", truth=TRUTH):
    scorer = reward(rules)
    return scorer.score(scorer.read([text], get_format(format)), truth, STEP)


def mutated(rng, format):
    """A turn of the format with wrong, missing or further calls, and at times with bytes lost or added."""
    calls = []
    for name, arguments in DUE:
        given = {key: rng.choice([value, value, "Oslo", 3.5]) for key, value in arguments.items()}
        if rng.random() < 0.2:
            given["more"] = [1, {"a": "}"}]
        calls.append((rng.choice([name, name, "other"]), given))
    rng.shuffle(calls)
    calls = calls[: rng.randrange(1, 4)] + calls[: rng.randrange(2)]
    text = bytearray(text_of(RENDERERS[format]("so (it) is", calls, "")))
    for _ in range(rng.choice([0, 0, 1, 2])):
        at = rng.randrange(len(text))
        if rng.random() < 0.5:
            del text[at : at + rng.choice([1, 1, 5])]
        else:
            text[at:at] = rng.choice([b'"', b"}", b",", b"<", b"\\", b" ", b"]", b"NaN", b"</tool_call>", b"\xff"])
    return bytes(text)


CASES = st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(RENDERERS)), st.sampled_from(RULES))


@given(CASES)
@example((466, "glm", "strict"))  # an end tag within an open call
@examples(400)
def test_a_part_depends_on_the_text_up_to_it_alone(case):
    """Truncated anywhere, right after a part too, a text has the parts that it has up to there: what follows changes
    none."""
    seed, format, rules = case
    rules = rules if format == "rlla" or rules != "paper" else "toolrl"
    rng = random.Random(seed)
    text = mutated(rng, format)
    whole = parts(text, rules, format)
    for end in (rng.randrange(len(text)), rng.choice(whole).byte + 1 if whole else 0):
        assert parts(text[:end], rules, format) == [part for part in whole if part.byte < end]


@given(CASES)
@examples(400)
def test_parts_add_up_to_what_a_legal_response_earns(case):
    seed, format, rules = case
    rules = rules if format == "rlla" or rules != "paper" else "toolrl"
    text = mutated(random.Random(seed), format)
    found, scorer = score(text, rules, format), reward(rules)
    if found["legal"]:
        low = scorer.score(scorer.read([b""], get_format(format)), TRUTH, STEP)
        assert sum(part.amount for part in parts(text, rules, format)) == pytest.approx(found["score"] - low["score"])


def test_strict_parts_worked_out_by_hand():
    """C ranges over 6, F over 2; three calls are due. q of the first is (1 + k/2 + v) / 4."""
    text = THINK + block(WEATHER.replace("3", "4"))
    found = [(text[: part.byte + 1].splitlines()[-1][-8:], part.amount) for part in parts(text)]
    assert found == [
        ("</think>", 0.0),
        ('weather"', pytest.approx(6 * 1 / 4 / 3)),
        ('{"city":', pytest.approx(6 * 1 / 8 / 3)),
        ('"Paris"'.rjust(8), pytest.approx(6 * 1 / 4 / 3)),
        (' "days":', pytest.approx(6 * 1 / 8 / 3)),
        ('ays": 4}', 0.0),  # a wrong value is decided too
        ("ol_call>", 2.0),
    ]
    assert [part.ends_reasoning for part in parts(text)] == [True] + [False] * 6


def amounts_at(text, word, **how):
    """What was decided in the last occurrence of a word."""
    start = text.rindex(word)
    return [part.amount for part in parts(text, **how) if start <= part.byte < start + len(word)]


def test_an_extra_call_costs_at_its_name():
    text = THINK + block(WEATHER, TIME, NEWS, '{"name": "more"')
    assert amounts_at(text, '"more"') == [pytest.approx(6 * (3 / 4 - 1))]


def test_a_malformed_call_costs_at_the_first_token_that_cannot_be_read():
    text = THINK + block(WEATHER.replace("Paris", "Paris\\x"), TIME)
    name, key = 6 * 1 / 4 / 3, 6 * 1 / 8 / 3
    assert amounts_at(text, '\\x"') == [pytest.approx(-name - key)]
    assert amounts_at(text, TIME) == []  # nothing of the call can be read, so nothing of the response


def test_an_optional_argument_costs_nothing_before_its_value():
    truth = read_bfcl(json.dumps(BFCL)).truth
    text = CALL.replace("3", "4")
    assert amounts_at(text, '"days": 4}', truth=truth) == [0.0, pytest.approx(6 * (3 / 4 - 1))]
    assert amounts_at(CALL, '"days": 3}', truth=truth) == [0.0, 0.0]


def test_the_published_code_reads_a_block_before_it_is_closed():
    """S_max = 1 + (1 + 2) for one call with two arguments: names agree at the name, keys by their Jaccard index."""
    truth = read_ground_truth(CALL)
    assert [part.amount for part in parts(CALL, "paper", truth=truth)] == pytest.approx(
        [0, 6 / 4, 3 / 4, 6 / 4, 3 / 4, 6 / 4, 2]
    )


def test_two_turns_are_one_matching():
    """The second turn's call is the second due call; a turn that breaks off is decided at its end."""
    turns = [THINK + block(TIME), THINK + block(TIME)]
    found = parts(turns)
    assert [part.turn for part in found] == [0] * 3 + [1] * 2
    assert found[-1].amount == pytest.approx(6 * (1 / 4 - 1 / 3))
    cut = parts([turns[0][: turns[0].index("parameters")], turns[1]])
    assert (cut[2].turn, cut[2].byte, cut[2].amount) == (0, turns[0].index("parameters"), pytest.approx(-2.0))


@pytest.mark.parametrize("rules", ["strict", "paper"])
def test_where_no_call_is_due_all_is_decided_at_the_end(rules):
    assert parts(CALL, rules, truth=GroundTruth(Kind(calls=False, answer=True), [])) == []


def test_where_any_call_is_right_its_name_earns_all():
    truth = GroundTruth(Kind(calls=True, answer=False), [])
    assert [part.amount for part in parts(CALL, truth=truth)][:2] == [0.0, 6.0]


HOSTILE = ("closing braces", "brackets in a value", "the right call")
OPENINGS = {"rlla": "", "pythonic": "[f(a="}


@pytest.mark.soon
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("format", OPENINGS)
def test_hostile_text_is_looked_at_in_no_time(kind, format):
    parts(OPENINGS[format] + GROWING[kind](size(200_000)), format=format)


def test_long_text_is_looked_at_up_to_a_limit(monkeypatch):
    """Each look reads the text so far, so their number is limited; what was seen before stays."""
    whole = parts(CALL)
    monkeypatch.setattr(progress, "_MOST_BYTES", 12 * progress._BYTES_OF_LOOK)
    assert 0 < len(some := parts(CALL)) < len(whole) and whole[: len(some)] == some


def test_many_turns_are_parsed_a_limited_number_of_times():
    """Each look judges the turns before it too: a trajectory of short turns must not take quadratic time."""
    parsed, sound = [], get_format("hermes")
    counting = replace(sound, parse=lambda text: parsed.append(text) or sound.parse(text))
    parts_of(reward("strict"), [b"<tool_call>"] * 2000, counting, NO_TOOLS, TRUTH, STEP)
    assert len(parsed) < 10_000
