"""Reading ground truths, and when calls are the same; the settings `rest.reward`: presets, ToolRL's variants, and what
of a response the reading `first_block` sees."""

import pytest
from rewards import ANSWER, THINK, TIME, WEATHER, block, score

from rest_verl.config.rest import ConfigError, load
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


CALL, SAID = THINK + block(WEATHER), THINK + ANSWER
HALF = THINK + block(WEATHER.replace("3", "4"))  # share 3/4


def parts(settings, step, response=CALL, truth=CALL):
    found = score([response], truth, settings, step)
    return found["format"], found["correctness"]


# variant of ToolRL -> what it changes in the preset toolrl
VARIANTS = {
    "equal maxima": {"correctness_min": {"start": -1.0}, "correctness_max": {"start": 1.0}},
    "two-stage": {
        "format_max": {"start": 1.0, "slope": -0.5, "limit": 0.5, "begin": 29},
        "correctness_min": {"start": -1.0, "slope": -2.0, "limit": -3.0, "begin": 29},
        "correctness_max": {"start": 1.0, "slope": 2.0, "limit": 3.0, "begin": 29},
    },
    "length": {"length": {"max": 1.0}},
    "dynamic length": {"length": {"max": 1.0, "words": {"start": 384, "slope": 256 / 105, "limit": 1e9}}},
}
TOOLRL = {
    "rules": "toolrl",
    "format_min": {"start": 0.0},
    "format_max": {"start": 1.0},
    "correctness_min": {"start": -3.0},
    "correctness_max": {"start": 3.0},
}


def test_the_presets_are_their_keys():
    def rewards(node):
        return load({"rest": {"reward": node}}).reward

    assert rewards("toolrl") == rewards(TOOLRL)
    assert rewards("paper") == rewards({"rules": "toolrl"})
    assert rewards("strict") == rewards({}) == rewards({"rules": "strict"})


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"rest\.reward: unknown preset 'strikt'.*strict.*paper, strict, toolrl"):
        load({"rest": {"reward": "strikt"}})


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"rules": "strict", "granularity": "coarse"}, "granularity=coarse is a variant of rules=toolrl"),
        ({"reading": "first_block"}, "reading=first_block is a variant of rules=toolrl"),
        ({"length": {"min": 2.0}}, "min=2.0 is greater than max=0.0"),
        ({"length": {"words": {"start": 0}}}, "words must be above 0 at every step"),
        ({"format_max": {"start": 1.0, "begin": 5}}, "begin=5 needs slope and limit"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, fault):
    with pytest.raises(ConfigError, match=fault):
        load({"rest": {"reward": settings}})


def test_toolrls_reading_is_refused_in_other_formats():
    with pytest.raises(ConfigError, match=r"reading=first_block reads the format rlla, but rest\.format=hermes"):
        load({"rest": {"reward": {"rules": "toolrl", "reading": "first_block"}, "format": "hermes"}})


@pytest.mark.parametrize("reading", ["first_block", None])
def test_in_rlla_the_published_code_is_followed_unless_told_otherwise(reading):
    fenced = THINK + block("```", WEATHER, "```")
    assert parts(TOOLRL | {"reading": reading}, 0, fenced)[1] == -3.0
    assert parts(TOOLRL | {"reading": "parser"}, 0, fenced)[1] == 3.0


@pytest.mark.parametrize("preset", ["paper", "toolrl"])
def test_other_formats_than_rlla_are_read_by_their_parser(preset):
    """No published code reads them, so there is nothing to follow; the rules are the same."""
    parser = {"paper": {}, "toolrl": TOOLRL}[preset] | {"rules": "toolrl", "reading": "parser"}
    call = block(WEATHER.replace("parameters", "arguments"))
    for text in (call, f"{call}\n{call}", block("{"), "It rains.", f"<think>{call}</think>"):
        assert score([text], CALL, preset, wire_format="hermes") == score([text], CALL, parser, wire_format="hermes")
    assert score([call], CALL, preset, wire_format="hermes")["acc"] == 1.0


@pytest.mark.parametrize("step", [0, 200])
def test_toolrls_bounds_stand_still(step):
    assert parts("toolrl", step) == (1.0, 3.0)
    assert parts("toolrl", step, "no") == (0.0, -3.0)
    assert parts("toolrl", step, HALF) == (1.0, 1.5)


def test_equal_maxima():
    settings = TOOLRL | VARIANTS["equal maxima"]
    assert parts(settings, 0) == (1.0, 1.0)
    assert parts(settings, 0, "no") == (0.0, -1.0)


def test_two_stages_change_at_step_30():
    settings = TOOLRL | VARIANTS["two-stage"]
    assert [parts(settings, step) for step in (0, 29, 30, 31, 500)] == [(1, 1), (1, 1), (0.5, 3), (0.5, 3), (0.5, 3)]
    assert [parts(settings, step, "no") for step in (29, 30)] == [(0, -1), (0, -3)]


@pytest.mark.parametrize(("granularity", "correctness"), [("fine", 1.5), ("refined", 1.5), ("coarse", -3.0)])
def test_granularities_are_those_of_the_matching(granularity, correctness):
    assert parts(TOOLRL | {"granularity": granularity}, 0, HALF)[1] == pytest.approx(correctness)
    assert parts(TOOLRL | {"granularity": granularity}, 0)[1] == 3.0


def words(count):
    return f"<think> {'word ' * count}</think>\n{block(WEATHER)}"


@pytest.mark.parametrize(
    ("variant", "step", "count", "length"),
    [
        ("length", 0, 256, 0.5),
        ("length", 0, 100, 0.2),  # 0.1953, to two digits
        ("length", 0, 1000, 1.0),
        ("dynamic length", 0, 384, 1.0),
        ("dynamic length", 105, 384, 0.6),
        ("dynamic length", 105, 640, 1.0),
        ("dynamic length", 210, 640, 0.71),  # 640 of 896: ToolRL's slope has no end
    ],
)
def test_length_rewards_words_of_reasoning(variant, step, count, length):
    found = score([words(count)], CALL, TOOLRL | VARIANTS[variant], step)
    assert (found["length"], found["score"]) == (pytest.approx(length), pytest.approx(4 + length))


@pytest.mark.parametrize("response", [block(WEATHER), "<think> " + "word " * 600, words(600).replace("</think>", "")])
def test_reasoning_that_is_not_closed_has_no_length(response):
    assert score([response], CALL, TOOLRL | VARIANTS["length"])["length"] == 0.0


@pytest.mark.parametrize(
    ("response", "correctness"),
    [
        (f"<think> {CALL} </think>\n{ANSWER}", 3.0),
        (CALL + "\n" + block(TIME), 3.0),
        ("x <|im_start|>assistant\n" + CALL, 3.0),
        (CALL + "<|im_end|>" + block(TIME), 3.0),
        ("<|start_header_id|>assistant<|end_header_id|>" + CALL + "<|eot_id|>x", 3.0),
        (THINK + block(WEATHER).replace("</tool_call>", ""), -3.0),
        (THINK + "<tool_call>\n\n</tool_call>", -3.0),
        (THINK + block(WEATHER + " x"), -3.0),
        (THINK + block(WEATHER.replace("parameters", "arguments")), -3.0),
        (THINK + block("[1]"), -3.0),
        (THINK + block("[" * 100_000), -3.0),
    ],
)
def test_the_reading_first_block_sees_what_toolrls_code_sees(response, correctness):
    assert parts("toolrl", 0, response)[1] == correctness


def test_on_well_formed_responses_both_readings_agree():
    parser = {**TOOLRL, "reading": "parser"}
    for response in (CALL, HALF, SAID, f"{CALL}\n{ANSWER}", THINK + block(WEATHER, TIME), THINK):
        assert score([response], CALL, parser) == score([response], CALL, TOOLRL)
