"""Reading ground truths, and when calls are the same."""

import pytest
from rewards import THINK, WEATHER, block

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.reward.truth import DueCall, GroundTruth, equal_json, read_ground_truth, same_calls


def test_a_ground_truth_is_its_kind_and_its_calls():
    call, answer = block(WEATHER), "\n<response> It rains. </response>"
    weather = [DueCall("get_weather", {"city": "Paris", "days": 3})]
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
        (THINK + block(WEATHER.replace("3", "[" * 600 + "]" * 600)), "a call that cannot be read"),
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


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (1, "1", False),
        (None, False, False),
        (None, 0, False),
        ([1, 2], [2, 1], False),
        ([1, 2], [1, 2], True),
        ([1], [1, 2], False),
        ([True], [1], False),
        ({"a": [1, {"x": None}]}, {"a": [1, {"x": None}]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ([], {}, False),
        ("", None, False),
    ],
)
def test_equality_of_json_values_looks_at_types(first, second, equal):
    assert equal_json(first, second) is equal
    assert equal_json(second, first) is equal


def test_the_same_calls_are_equal_in_any_order_and_number():
    due = [DueCall("f", {"a": 1}), DueCall("g", {}), DueCall("f", {"a": [1, {"x": None}]})]
    made = [ToolCall(call.name, call.arguments) for call in due]
    assert same_calls(due, made[::-1])
    assert not same_calls(due, [*made, made[0]])
    assert not same_calls(due, made[:-1])
    assert not same_calls(due, [made[0], made[1], made[0]])
    assert not same_calls(due, [*made[:2], ToolCall("f", {"a": [1, {"x": 0}]})])
    assert same_calls([], []) and not same_calls([], made)
