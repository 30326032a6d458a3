"""The format `rlla`: what is where in a turn, and which turns are legal."""

import json

import pytest
from format_view import ANSWER, BOTH, CALLS, FormatView

from rest_verl.formats import get_format

VIEW = FormatView(get_format("rlla"))
parts = VIEW.parts
legal = VIEW.legal


def calls_of(block):
    return parts(f"<tool_call>{block}</tool_call>")[3]


def test_a_turn_with_reasoning_two_calls_and_an_answer():
    text = (
        "<think> Weather, then time. </think>\n"
        "<tool_call>\n"
        '{"name": "get_weather", "parameters": {"city": "Paris"}}\n'
        '{"name": "get_time", "parameters": {}}\n'
        "</tool_call>\n"
        "<response> One moment. </response>"
    )
    assert parts(text) == (
        ["<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>"],
        [" Weather, then time. "],
        [" One moment. "],
        [("get_weather", '{"city": "Paris"}', True), ("get_time", "{}", True)],
    )


def test_text_outside_of_every_block_belongs_to_nothing():
    assert parts("Hello <think>a</think> there <response>b</response> you") == (
        ["<think>", "</think>", "<response>", "</response>"],
        ["a"],
        ["b"],
        [],
    )


def test_arguments_may_come_before_the_name():
    assert calls_of('\n{"parameters": {"city": "Paris"}, "name": "get_weather"}\n') == [
        ("get_weather", '{"city": "Paris"}', True)
    ]


@pytest.mark.parametrize(("key", "arguments"), [("parameters", '{"a": 1}'), ("arguments", None)])
def test_arguments_go_by_the_key_of_the_format(key, arguments):
    assert calls_of(json.dumps({"name": "f", key: {"a": 1}})) == [("f", arguments, True)]


def test_a_key_called_name_inside_of_the_arguments_is_no_tool_name():
    block = '{"parameters": {"name": "inner", "parameters": {"name": "deep"}}, "name": "outer"}'
    assert calls_of(block) == [("outer", '{"name": "inner", "parameters": {"name": "deep"}}', True)]


def test_braces_quotes_and_tags_in_strings_are_text():
    arguments = '{"a": "}{ \\" </tool_call> <think> \\\\", "b": "<response>"}'
    text = f'<tool_call>\n{{"name": "f", "parameters": {arguments}}}\n</tool_call>\n<response>x</response>'
    markers, think, response, calls = parts(text)
    assert calls == [("f", arguments, True)]
    assert (markers, think, response) == (["<tool_call>", "</tool_call>", "<response>", "</response>"], [], ["x"])


def test_names_and_values_beyond_ascii_and_escapes_stay_as_written():
    assert calls_of('{"name": "天気_é", "parameters": {"città": "Zürich \\u00fc 🙂"}}') == [
        ("天気_é", '{"città": "Zürich \\u00fc 🙂"}', True)
    ]


def test_line_breaks_of_any_kind_and_pretty_printing():
    pretty = json.dumps({"name": "f", "parameters": {"a": [1, {"b": 2}]}}, indent=4)
    compact = '{"name":"g","parameters":{}}'
    arguments = '{\r\n        "a": [\r\n            1,\r\n            {\r\n                "b": 2\r\n            }\r\n'
    arguments += "        ]\r\n    }"
    assert calls_of(f"\n{pretty}\n{compact}\n".replace("\n", "\r\n")) == [("f", arguments, True), ("g", "{}", True)]


def test_a_list_of_calls_holds_each_of_them():
    block = '[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {"x": [{}]}}]'
    assert calls_of(block) == [("f", "{}", True), ("g", '{"x": [{}]}', True)]


def test_calls_on_one_line_are_told_apart():
    assert calls_of('{"name": "f", "parameters": {}}{"name": "g", "parameters": {}}') == [
        ("f", "{}", True),
        ("g", "{}", True),
    ]


def test_of_repeated_keys_the_last_counts():
    assert calls_of('{"name": "f", "parameters": {"a": 1}, "name": "g", "parameters": {"b": 2}}') == [
        ("g", '{"b": 2}', True)
    ]


def test_missing_parts_of_a_call_are_none():
    assert calls_of('{"name": 7, "parameters": [1]} {"tool": "f"}') == [(None, "[1]", True), (None, None, True)]


THINK = "<think> t </think>"
CALL = '\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
REPLY = "\n<response> r </response>"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (THINK + CALL, [CALLS]),
        (THINK + REPLY, [ANSWER]),
        (THINK + CALL + REPLY, [BOTH]),
        (THINK + REPLY + CALL, []),
        (THINK, []),
        (CALL[1:], []),
        ("", []),
        (THINK + CALL + "\n", [CALLS]),
        (THINK + CALL + "\n\n", [CALLS]),
        (THINK + CALL + " ", [CALLS]),
        (" " + THINK + CALL, [CALLS]),
        (THINK + " " + CALL, []),
        (THINK + CALL[1:], []),
        (THINK + CALL.replace("<tool_call>\n", "<tool_call>"), []),
        (THINK + CALL.replace("\n</tool_call>", "</tool_call>"), []),
        (THINK + CALL + CALL, []),
        (THINK + REPLY + REPLY, []),
        (THINK[:-1] + CALL, []),
        (THINK[1:] + CALL, []),
        (THINK + CALL[:-1], []),
        (THINK + REPLY[:-1], []),
        (THINK + REPLY.replace("</response>", "</response></response>"), []),
        (THINK + CALL.replace('{"name"', '{"<tool_call>": 1, "name"'), [CALLS]),
        (THINK + CALL.replace("\n", "\r\n"), []),
        (THINK.replace(" t ", " several\nlines \n\n") + CALL, [CALLS]),
        (THINK + CALL.replace('{"name": "f", "parameters": {}}', "no JSON at all"), []),
        (THINK + REPLY.replace(" r ", ""), [ANSWER]),
    ],
)
def test_a_turn_is_legal_for_exactly_the_kinds_whose_blocks_it_has(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH) if legal(text, kind)] == kinds
