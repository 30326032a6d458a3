"""The rules `strict`: what a call earns, what costs, and what no response can do."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards import ANSWER, THINK, TIME, WEATHER, block
from rewards import score as scored

from rest_verl.core.tool_calls import Kind, ToolCall, WireFormat
from rest_verl.formats.rlla import RLLA
from rest_verl.reward.response import read_response
from rest_verl.reward.strict import is_strictly_legal, match_best
from rest_verl.reward.truth import DueCall


def due(name, **arguments):
    return DueCall(name, arguments)


def made(name, **arguments):
    return ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("calls", "share"),
    [
        ([made("f", a=1, b=2)], 1.0),
        ([made("f", b=2, a=1)], 1.0),
        ([made("g", a=1, b=2)], 0.0),
        ([made("f", a=1)], (1 + 1 / 2 + 1) / 4),
        ([made("f", a=1, b=3)], (1 + 1 + 1) / 4),
        ([made("f", a=1, b=2, c=3)], (1 + 1 + 2) / 5),
        ([made("f", a=1, b=3, c=3, d=4)], (1 + 1 + 1) / 6),
        ([made("f", c=1)], 1 / 5),
        ([made("f")], 1 / 4),
        ([made("f", a="1", b=2)], 3 / 4),
        ([made("f", a=True, b=2)], 3 / 4),
        ([made("f", a=1.0, b=2)], 1.0),
        ([made("f", a=1, b=2), made("g")], 1 / 2),
        ([made("f", a=1, b=2)] * 10, 1 / 10),
    ],
)
def test_the_share_of_one_call_that_is_due(calls, share):
    assert match_best([due("f", a=1, b=2)], calls).share == pytest.approx(share)


def test_a_call_that_is_missing_costs_as_much_as_one_too_many():
    f, g = due("f", a=1), due("g")
    assert match_best([f, g], [made("f", a=1)]).share == 1 / 2
    assert match_best([f], [made("f", a=1), made("g")]).share == 1 / 2
    assert match_best([f, g], [made("f", a=1), made("h")]).share == 1 / 3


def test_a_call_that_is_repeated_serves_one_due_call_and_costs_as_an_extra_one():
    """Else one call, written again and again, would earn its name and keys for every due call of its tool."""
    wanted = [due("f", a=1), due("f", a=2)]
    assert match_best(wanted, [made("f", a=1)]).share == 1 / 2
    assert match_best(wanted, [made("f", a=1)] * 2).share == 1 / 3
    assert match_best(wanted, [made("f", a=1), made("f", a=3)]).share == pytest.approx((1 + 2 / 3) / 2)
    assert match_best([due("f", a=1)] * 2, [made("f", a=1)] * 2).share == 1.0
    assert match_best([due("f", a=1)] * 2, [made("f", a=1), made("f", a=1.0)]).share == 1.0
    assert match_best(wanted, [made("f", a=1), made("f", a=1, x=0)]).share == 1 / 3
    assert match_best([due("f", a=1)] * 2, [made("f", a=1), made("f", a=1, x=0)]).share == pytest.approx(
        (1 + 3 / 4) / 2
    )
    assert match_best(wanted, [made("f", a=1), made("f", a=True)]).share == pytest.approx((1 + 2 / 3) / 2)


def test_the_pairing_is_the_best_and_not_that_of_the_order():
    # In order f(a=1, b=2) would take the call with both keys, of which one value is right, and leave f(a=1) the other.
    wanted = [due("f", a=1, b=2), due("f", a=0, b=2)]
    calls = [made("f", a=0, b=2), made("f", a=1)]
    assert match_best(wanted, calls).share == pytest.approx(((1 + 1 / 2 + 1) / 4 + 1) / 2)


def test_an_optional_argument_may_be_given_with_a_value_that_is_accepted():
    wanted = DueCall("f", {"a": 1}, optional=frozenset({"b"}), accepts=lambda key, value: value in (1, 2))
    assert match_best([wanted], [made("f", a=1)]).share == 1.0
    assert match_best([wanted], [made("f", a=2, b=2)]).share == 1.0
    assert match_best([wanted], [made("f", a=1, b=3)]).share == pytest.approx((1 + 1 + 1) / 4)
    assert match_best([wanted], [made("f", a=1, c=2)]).share == pytest.approx((1 + 1 + 1) / 4)
    assert match_best([wanted], [made("f", a=3, b=2)]).share == match_best([wanted], [made("f", a=3)]).share == 2 / 3


def test_an_optional_argument_without_a_known_value_is_never_right():
    wanted = DueCall("f", {"a": 1, "b": 2}, optional=frozenset({"b", "c"}))
    shares = [match_best([wanted], [made("f", a=1, **more)]).share for more in ({}, {"b": 2}, {"b": 3}, {"c": None})]
    assert shares == [1.0, 1.0, 3 / 4, 3 / 4]


def test_parts_of_a_match():
    match = match_best([due("f", a=1, b=2), due("g")], [made("f", a=1), made("h")])
    assert (match.name, match.arg_keys, match.arg_values) == pytest.approx((1 / 3, (1 / 2) / 2, 1 / 2))
    whole = match_best([due("f", a=1, b=2), due("g")], [made("g"), made("f", a=1, b=2)])
    assert (whole.share, whole.name, whole.arg_keys, whole.arg_values) == (1.0, 1.0, 1.0, 1.0)


values = st.sampled_from([0, 1, True, "1", None, [1], {"x": 1}])
arguments = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
some_calls = st.lists(st.tuples(st.sampled_from("fgh"), arguments), min_size=1, max_size=4)


@given(some_calls, st.lists(st.tuples(st.sampled_from("fgh"), arguments), max_size=5), st.randoms())
def test_the_share_is_a_share_that_order_cannot_change_and_one_call_more_cannot_raise_from_the_top(wanted, calls, rng):
    wanted = [DueCall(*call) for call in wanted]
    calls = [ToolCall(*call) for call in calls]
    match = match_best(wanted, calls)
    for part in (match.share, match.name, match.arg_keys, match.arg_values):
        assert 0 <= part <= 1 + 1e-9
    shuffled = random.Random(rng.random()).sample(calls, len(calls))
    assert match_best(wanted, shuffled).share == pytest.approx(match.share)
    perfect = [ToolCall(call.name, call.arguments) for call in wanted]
    assert match_best(wanted, perfect).share == pytest.approx(1.0)
    assert match_best(wanted, [*perfect, *calls]).share <= len(wanted) / (len(wanted) + len(calls)) + 1e-9


def score(response, truth, step=0):
    return scored([response], truth, "strict", step)


CALL, SAID = THINK + block(WEATHER), THINK + ANSWER


@pytest.mark.parametrize(
    ("response", "legal", "correctness"),
    [
        (CALL, 1.0, 2.0),
        (THINK + block(WEATHER.replace("3", "4")), 1.0, 1.0),
        (block(WEATHER), 0.0, -2.0),
        (CALL + "\nNoise.", 0.0, -2.0),
        ("Noise. " + CALL, 0.0, -2.0),
        (f"{CALL}\n{ANSWER}", 0.0, -2.0),
        (SAID, 0.0, -2.0),
        (THINK + block(WEATHER, WEATHER[:-1]), 1.0, -2.0),
    ],
)
def test_correctness_needs_a_legal_format(response, legal, correctness):
    found = score(response, CALL)
    assert (found["legal"], found["correctness"]) == (legal, pytest.approx(correctness))


@pytest.mark.parametrize(
    ("response", "score_", "acc"),
    [
        (SAID, 4.0, 1.0),
        (THINK + "<response> \n </response>", -4.0, 0.0),
        (ANSWER, -4.0, 1.0),
        (CALL, -4.0, 0.0),
        (f"{CALL}\n{ANSWER}", -4.0, 0.0),
    ],
)
def test_where_no_call_is_due_an_answer_earns_what_a_right_call_does(response, score_, acc):
    found = score(response, SAID)
    assert (found["score"], found["acc"]) == (score_, acc)


def test_where_both_are_due_an_empty_answer_beside_the_right_call_is_not_legal():
    truth = f"{CALL}\n{ANSWER}"
    assert score(truth, truth)["score"] == 4.0
    assert score(CALL + "\n<response></response>", truth)["score"] == -4.0


def test_the_rules_hold_in_other_formats():
    call = block('{"name": "get_weather", "arguments": {"days": 3, "city": "Paris"}}')
    assert scored([call], CALL, "strict", wire_format="hermes")["score"] == 4.0
    assert scored([call.replace("3", '"3"')], CALL, "strict", wire_format="hermes")["correctness"] == 1.0
    assert scored(["It rains."], SAID, "strict", wire_format="hermes")["score"] == 4.0
    assert scored(["  "], SAID, "strict", wire_format="hermes")["score"] == -4.0


def test_calls_of_several_turns_count_together():
    found = scored([THINK + block(TIME), CALL, SAID], THINK + block(WEATHER, TIME), "strict")
    assert (found["score"], found["acc"]) == (4.0, 1.0)


def test_stray_text_is_illegal_where_a_format_allows_it():
    """A user's format may allow text between its blocks; `strict` does not."""
    lenient = WireFormat(RLLA.parse, lambda text, turn, kind: True, RLLA.read)
    kind = Kind(calls=True, answer=False)
    for text, legal in ((CALL, True), (CALL.replace("<tool_call>", "Well. <tool_call>"), False)):
        assert is_strictly_legal(read_response([text.encode()], lenient), kind) is legal
