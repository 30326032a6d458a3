"""The format `minimax`: what is where in a turn, which turns are legal, and which values are read."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.minimax import MINIMAX

VIEW = FormatView(MINIMAX)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls
kinds_of = VIEW.kinds_of

THINK = "<think>\nt\n</think>\n\n"
PARAMETER = '<parameter name="a">1</parameter>'
INVOKE = f'<invoke name="f">\n{PARAMETER}\n</invoke>'
CALL = f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>"
INVOKE_MARKERS = ['<invoke name="', '">', "</invoke>"]


def test_a_turn_with_reasoning_text_and_two_calls_in_a_block():
    parameters = '<parameter name="city">Zürich {</parameter>\n<parameter name="note">a </think> "b">\n\nc</parameter>'
    second = f'<invoke name="g.h">\r\n{parameters}\r\n</invoke>'
    assert parts(f"{THINK}I look it up.\n<minimax:tool_call>\n{INVOKE}\r\n{second}\n</minimax:tool_call>") == (
        ["<think>", "</think>", "<minimax:tool_call>", *INVOKE_MARKERS, *INVOKE_MARKERS, "</minimax:tool_call>"],
        ["\nt\n"],
        ["\n\nI look it up.\n"],
        [("f", PARAMETER, True), ("g.h", parameters, True)],
    )


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("<minimax:tool_call>\n<invoke na", []),
        ('<minimax:tool_call>\n<invoke name="', [(None, None, False)]),
        ('<minimax:tool_call>\n<invoke name="get_wea', [("get_wea", None, False)]),
        ('<minimax:tool_call>\n<invoke name="f"', [("f", None, False)]),
        ('<minimax:tool_call>\n<invoke name="f">\n<parameter name="ci', [("f", '<parameter name="ci', False)]),
        ('<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">1 \n', [("f", '<parameter name="a">1', False)]),
        (f'<minimax:tool_call>\n<invoke name="f">\n{PARAMETER}\n</invo', [("f", PARAMETER, False)]),
        (f"<minimax:tool_call>\n{INVOKE}\n{INVOKE[:-1]}", [("f", PARAMETER, True), ("f", PARAMETER, False)]),
    ],
)
def test_a_call_that_breaks_off_keeps_what_it_has(text, calls):
    assert parts(text)[3] == calls


def test_half_of_what_stands_behind_a_name_is_no_marker():
    assert parts('<minimax:tool_call>\n<invoke name="f"')[0] == ["<minimax:tool_call>", '<invoke name="']


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (CALL + "\n" + CALL, [CALLS]),
        (f"<minimax:tool_call>{INVOKE}{INVOKE}</minimax:tool_call>", [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t\n</think>\n\n" + CALL, [CALLS]),
        (THINK + "I look it up.\n" + CALL, [CALLS, BOTH]),
        (THINK + "Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ('<minimax:tool_call><invoke name="f"></invoke></minimax:tool_call>', [CALLS]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert kinds_of(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<think>t" + CALL,
        CALL[: -len("</minimax:tool_call>")],
        CALL + "</minimax:tool_call>",
        "<minimax:tool_call></minimax:tool_call>",
        f"<minimax:tool_call>{INVOKE},{INVOKE}</minimax:tool_call>",
        f'<minimax:tool_call><invoke name="f">{PARAMETER}</minimax:tool_call>',
        f'<minimax:tool_call><invoke name="f" id="1">{PARAMETER}</invoke></minimax:tool_call>',
        f"<minimax:tool_call><invoke name=f>{PARAMETER}</invoke></minimax:tool_call>",
        f'<minimax:tool_call><invoke name="">{PARAMETER}</invoke></minimax:tool_call>',
        f'<minimax:tool_call><invoke name="f">text{PARAMETER}</invoke></minimax:tool_call>',
        '<minimax:tool_call><invoke name="f"><parameter name="a">1</invoke></minimax:tool_call>',
        '<minimax:tool_call><invoke name="f"><parameter name=a>1</parameter></invoke></minimax:tool_call>',
    ],
)
def test_a_turn_with_a_tag_too_many_or_missing_or_malformed_is_never_legal(text):
    assert kinds_of(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' \n Paris, "France" \r\n', ' \n Paris, "France" \r\n'),
        ('" Paris\\n"', " Paris\n"),
        (" 3 ", 3),
        ("null", None),
        ("-Infinity", "-Infinity"),
        ('[1, {"b": null}]', [1, {"b": None}]),
        ("", ""),
    ],
)
def test_a_value_is_json_where_it_is_json_and_text_elsewhere(text, expected):
    (call,) = read_calls(CALL.replace("1", text))
    assert (type(call.arguments["a"]), call.arguments["a"]) == (type(expected), expected)


def test_one_call_that_cannot_be_read_leaves_the_others():
    text = f'<minimax:tool_call><invoke name="g"><parameter name="a</invoke>{INVOKE}</minimax:tool_call>'
    assert read_calls(text) == [None, ToolCall("f", {"a": 1})]


@pytest.mark.parametrize(
    "call",
    [
        f'<invoke name="f>{PARAMETER}</invoke>',
        f'<invoke name="f" >{PARAMETER}</invoke>',
        f'<invoke name="f">{PARAMETER}',
        '<invoke name="f"><parameter name=a>1</parameter></invoke>',
        '<invoke name="f"><parameter name="a">1</invoke>',
        f'<invoke name="f"><parameter name="b">2{PARAMETER}</invoke>',
    ],
)
def test_a_call_that_is_malformed_or_open_or_has_an_open_value_cannot_be_read(call):
    assert read_calls(f"<minimax:tool_call>{call}</minimax:tool_call>") == [None]
