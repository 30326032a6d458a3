"""Matching calls to the ground truth, and reading the ground truth."""

import pytest

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.reward.toolrl import GroundTruth, jaccard, match_calls, read_ground_truth

THINK = "<think> t </think>\n"
WEATHER = '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}'


def block(*calls):
    return "<tool_call>\n" + "\n".join(calls) + "\n</tool_call>"


F = ToolCall("f", {"a": 1, "b": 2})


def test_each_prediction_serves_one_call_in_the_order_of_the_ground_truth():
    # The first f takes the prediction that suits it best, the second f what is left: keys {a} and {a, b}, a is equal.
    match = match_calls([F, F], [ToolCall("f", {"a": 1}), F])
    assert (match.name, match.arg_keys, match.arg_values, match.most, match.exact) == (1.0, 1.5, 3, 7.0, False)


def test_of_equally_good_predictions_the_first_is_taken():
    # F shares its keys and one value with either: it takes `first`. f(a=0) is left with `second`: keys 1/2, value a.
    first, second = ToolCall("f", {"a": 1, "b": 0}), ToolCall("f", {"a": 0, "b": 2})
    match = match_calls([F, ToolCall("f", {"a": 0})], [first, second])
    assert (match.arg_keys, match.arg_values) == (1.5, 2)


def test_a_prediction_that_scores_nothing_is_not_used_up():
    # f() shares no key with f(a=1); it stays for the second call, f(), which it equals.
    match = match_calls([ToolCall("f", {"a": 1}), ToolCall("f", {})], [ToolCall("f", {})])
    assert (match.name, match.arg_keys, match.arg_values) == (0.5, 1.0, 0)


def test_exact_means_the_same_calls_in_any_order():
    calls = [F, ToolCall("g", {}), F, ToolCall("f", {"a": [1, {"x": None}]})]
    assert match_calls(calls, list(reversed(calls))).exact
    assert not match_calls(calls, [*calls, F]).exact
    assert not match_calls(calls, calls[:-1]).exact
    assert not match_calls(calls, [*calls[:-1], ToolCall("f", {"a": [1, {"x": 0}]})]).exact
    assert match_calls([], []).exact
    assert not match_calls([], [F]).exact


@pytest.mark.parametrize(
    ("first", "second", "index"),
    [
        ([], [], 1.0),
        (["a"], [], 0.0),
        ([], ["a"], 0.0),
        (["a", "b"], ["b", "a"], 1.0),
        (["a"], ["b"], 0.0),
        (["a", "a"], ["a"], 1 / 2),
        (["a", "a", "b"], ["a", "b", "b", "c"], 2 / 5),
    ],
)
def test_jaccard_index_of_multisets(first, second, index):
    assert jaccard(first, second) == pytest.approx(index)
    assert jaccard(second, first) == pytest.approx(index)


def test_a_ground_truth_is_its_kind_and_its_calls():
    call, answer = block(WEATHER), "\n<response> It rains. </response>"
    weather = [ToolCall("get_weather", {"city": "Paris", "days": 3})]
    assert read_ground_truth(THINK + call) == GroundTruth(Kind(True, False), weather)
    assert read_ground_truth(THINK + answer) == GroundTruth(Kind(False, True), [])
    assert read_ground_truth(THINK + call + answer) == GroundTruth(Kind(True, True), weather)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "neither <tool_call> nor <response>: ''"),
        ("It rains.", "neither <tool_call> nor <response>: 'It rains.'"),
        (THINK + "<tool_call>\n</tool_call>", "neither <tool_call> nor <response>"),
        (THINK + "<response></response>", "neither <tool_call> nor <response>"),
        (THINK + block(WEATHER, WEATHER[:-1]), "a call that cannot be read: '<think> t </think>"),
        (THINK + block(WEATHER.replace("3", "NaN")), "a call that cannot be read"),
        (THINK + block('{"name": "f"}'), "a call that cannot be read"),
        (THINK + block('{"name": "f", "parameters": "\ud800"}'), "a call that cannot be read"),
    ],
)
def test_a_ground_truth_that_asks_for_nothing_readable_is_refused(text, fault):
    with pytest.raises(ValueError) as error:
        read_ground_truth(text)
    assert fault in str(error.value)


def test_the_refusal_of_a_long_ground_truth_is_short():
    with pytest.raises(ValueError) as error:
        read_ground_truth("x" * 10_000)
    assert str(error.value).endswith("x...'") and len(str(error.value)) < 200
