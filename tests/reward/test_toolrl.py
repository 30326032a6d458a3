"""ToolRL's reward with ResT's moving bounds: scores worked out by hand."""

import pytest
from rewards import ANSWER, THINK, TIME, WEATHER, block
from rewards import score as scored

CALL_TRUTH = THINK + block(WEATHER)
ANSWER_TRUTH = THINK + ANSWER
BOTH_TRUTH = THINK + block(WEATHER) + "\n" + ANSWER


def score(*turns, truth=CALL_TRUTH, step=0, wire_format="rlla"):
    return scored(turns, truth, "paper", step, wire_format)


@pytest.mark.parametrize(
    ("step", "format_min", "format_max", "correctness_min", "correctness_max"),
    [
        (0, -2.0, 2.0, -2.0, 2.0),
        (75, -1.0, 1.5, -2.5, 2.5),
        (150, -1.0, 1.0, -3.0, 3.0),
        (400, -1.0, 1.0, -3.0, 3.0),
    ],
)
def test_the_bounds_move_from_form_to_content(step, format_min, format_max, correctness_min, correctness_max):
    best = score(THINK + block(WEATHER), step=step)
    assert (best["format"], best["correctness"]) == pytest.approx((format_max, correctness_max))
    worst = score("no", step=step)
    assert (worst["format"], worst["correctness"]) == pytest.approx((format_min, correctness_min))
    # S = 1 (name) + 1 (keys) + 1 (Paris) of S_max = 4, without a line break before the block.
    half = score(THINK[:-1] + block(WEATHER.replace("3", "4")), step=step)
    expected = format_min + correctness_min + (correctness_max - correctness_min) * 3 / 4
    assert half["score"] == pytest.approx(expected)
    assert (best["acc"], worst["acc"], half["acc"]) == (1.0, 0.0, 0.0)


def test_every_component_of_a_perfect_response():
    assert score(THINK + block(WEATHER), step=75) == pytest.approx(
        {
            "score": 4.0,
            "format": 1.5,
            "correctness": 2.5,
            "length": 0.0,
            "legal": 1.0,
            "name": 1.0,
            "arg_keys": 1.0,
            "arg_values": 1.0,
            "parse_ok": 1.0,
            "calls": 1.0,
            "extra_calls": 0.0,
            "acc": 1.0,
            "skipped": 0.0,
        }
    )


def test_every_component_of_a_partly_right_response():
    # Names {weather, time} against {weather, time, time}: J = 2/3. Weather: keys {city, days} against
    # {city, unit}: J = 1/3, one equal value. Time: keys {} against {}: 1. S_max = 1 + 3 + 1 = 5.
    truth = THINK + block(WEATHER, TIME)
    guess = '{"name": "get_weather", "parameters": {"unit": "C", "city": "Paris"}}'
    found = score(THINK + block(TIME, guess, TIME), truth=truth, step=0)
    matched = 2 / 3 + 1 / 3 + 1 + 1
    assert found == pytest.approx(
        {
            "score": 2.0 - 2.0 + 4.0 * matched / 5,
            "format": 2.0,
            "correctness": -2.0 + 4.0 * matched / 5,
            "length": 0.0,
            "legal": 1.0,
            "name": 2 / 3,
            "arg_keys": (1 / 3 + 1) / 2,
            "arg_values": 1 / 2,
            "parse_ok": 1.0,
            "calls": 3.0,
            "extra_calls": 1.0,
            "acc": 0.0,
            "skipped": 0.0,
        }
    )


@pytest.mark.parametrize(
    ("calls", "matched", "acc"),
    [
        ([WEATHER, TIME], 5, 1.0),
        ([TIME, WEATHER], 5, 1.0),
        ([WEATHER], 1 / 2 + 3, 0.0),
        ([TIME], 1 / 2 + 1, 0.0),
        ([WEATHER, TIME, TIME], 2 / 3 + 4, 0.0),
        ([WEATHER, WEATHER], 1 / 3 + 3, 0.0),
        ([WEATHER.replace("get_weather", "weather"), TIME], 1 / 3 + 1, 0.0),
        ([WEATHER.replace("Paris", "Rome"), TIME], 4, 0.0),
        ([WEATHER.replace(', "days": 3', ""), TIME], 1 + 1 / 2 + 1 + 1, 0.0),
        ([WEATHER.replace("days", "hours"), TIME], 1 + 1 / 3 + 1 + 1, 0.0),
        ([WEATHER.replace("3", '"3"'), TIME], 4, 0.0),
        ([WEATHER, TIME.replace("{}", '{"zone": 1}')], 4, 0.0),
        (['{"name": "other", "parameters": {}}'], 0, 0.0),
    ],
)
def test_calls_are_matched_by_name_keys_and_values(calls, matched, acc):
    found = score(THINK + block(*calls), truth=THINK + block(WEATHER, TIME))
    assert found["correctness"] == pytest.approx(-2 + 4 * matched / 5)
    assert found["acc"] == acc


@pytest.mark.parametrize(
    "broken",
    [
        WEATHER[:-1],
        WEATHER.replace('"Paris"', "Paris"),
        WEATHER.replace('"name"', '"nam"'),
        WEATHER.replace("get_weather", "get\tweather"),
        "{}",
    ],
)
def test_one_call_that_cannot_be_read_voids_them_all(broken):
    found = score(THINK + block(TIME, broken), truth=THINK + block(TIME))
    assert (found["correctness"], found["parse_ok"], found["calls"]) == (-2.0, 0.0, 2.0)
    assert (found["acc"], found["legal"], found["score"]) == (0.0, 1.0, 0.0)


def test_a_number_that_json_has_not_voids_the_calls_for_the_parser_alone():
    """The published code reads NaN: a value like any other wrong one."""
    text = THINK + block(WEATHER.replace("3", "NaN"))
    assert score(text)["correctness"] == pytest.approx(-2 + 4 * 3 / 4)
    assert scored([text], CALL_TRUTH, {"rules": "toolrl", "reading": "parser"})["correctness"] == -2.0


def test_no_call_where_one_is_due_scores_the_minimum():
    found = score(THINK + ANSWER)
    assert (found["correctness"], found["parse_ok"], found["calls"], found["acc"]) == (-2.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("response", "format_reward", "acc"),
    [
        (THINK + ANSWER, 2.0, 1.0),
        (ANSWER, -2.0, 1.0),
        (THINK + "It rains.", -2.0, 0.0),
        (THINK + "<response>  </response>", 2.0, 0.0),
        (THINK + block(WEATHER), -2.0, 0.0),
        (THINK + block(WEATHER) + "\n" + ANSWER, -2.0, 0.0),
        (THINK + block("{") + "\n" + ANSWER, -2.0, 0.0),
        ("", -2.0, 0.0),
    ],
)
def test_where_an_answer_is_due_only_the_format_is_rewarded(response, format_reward, acc):
    found = score(response, truth=ANSWER_TRUTH)
    assert (found["score"], found["format"], found["correctness"]) == (format_reward, format_reward, 0.0)
    assert found["acc"] == acc


def test_where_both_are_due_both_blocks_must_stand_and_acc_looks_at_the_calls():
    both, calls_only = THINK + block(WEATHER) + "\n" + ANSWER, THINK + block(WEATHER)
    assert [score(text, truth=BOTH_TRUTH)["score"] for text in (both, calls_only)] == [4.0, 0.0]
    assert [score(text, truth=BOTH_TRUTH)["acc"] for text in (both, calls_only)] == [1.0, 1.0]


def test_the_policy_may_write_another_format_than_the_ground_truth():
    call = block('{"name": "get_weather", "arguments": {"days": 3, "city": "Paris"}}')
    assert score(call, wire_format="hermes")["score"] == 4.0
    assert score("It rains.", truth=ANSWER_TRUTH, wire_format="hermes")["acc"] == 1.0


def test_the_calls_of_all_turns_count_together():
    truth = THINK + block(WEATHER, TIME)
    found = score(THINK + block(TIME), THINK + block(WEATHER), THINK + ANSWER, truth=truth)
    assert (found["score"], found["acc"], found["calls"]) == (4.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("turns", "legal"),
    [
        ([THINK + block(WEATHER), THINK + ANSWER], 1.0),
        ([THINK + block(WEATHER) + "\n" + ANSWER, THINK + block(TIME)], 1.0),
        ([THINK + ANSWER, THINK + ANSWER], 1.0),
        ([THINK + block(WEATHER), ANSWER], 0.0),
        ([block(WEATHER), THINK + ANSWER], 0.0),
        ([THINK + block(WEATHER), ""], 0.0),
        ([THINK + block(WEATHER), THINK + "x"], 0.0),
        ([THINK + ANSWER], 0.0),
        ([], 0.0),
    ],
)
def test_of_several_turns_each_is_legal_for_some_kind_and_a_single_one_for_the_one_due(turns, legal):
    assert score(*turns)["legal"] == legal


def test_a_tag_opened_in_one_turn_does_not_swallow_the_next():
    found = score("<think> open", THINK + block(WEATHER))
    assert (found["legal"], found["acc"]) == (0.0, 1.0)


def test_without_a_turn_the_score_is_the_minimum():
    assert score()["score"] == -4.0
