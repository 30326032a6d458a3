"""The format `deepseek_v4`: what is where in a turn, which turns are legal, and which values are read."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from render_xml import DSML

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.deepseek_v4 import DEEPSEEK_V4

VIEW = FormatView(DEEPSEEK_V4)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls
kinds_of = VIEW.kinds_of

THINK = "<think>\nt\n</think>\n\n"
BLOCK, BLOCK_END = f"<{DSML}tool_calls>", f"</{DSML}tool_calls>"
PARAMETER = f'<{DSML}parameter name="a" string="false">1</{DSML}parameter>'
INVOKE = f'<{DSML}invoke name="f">\n{PARAMETER}\n</{DSML}invoke>'
CALL = f"{BLOCK}\n{INVOKE}\n{BLOCK_END}"
INVOKE_MARKERS = [f'<{DSML}invoke name="', '">', f"</{DSML}invoke>"]


def test_a_turn_with_reasoning_text_and_two_calls_in_a_block():
    parameters = (
        f'<{DSML}parameter name="city" string="true">Zürich {{</{DSML}parameter>\n'
        f'<{DSML}parameter name="note" string="true"> a </think> "b"> </parameter>\n\nc</{DSML}parameter>'
    )
    second = f'<{DSML}invoke name="g.h">\r\n{parameters}\r\n</{DSML}invoke>'
    assert parts(f"{THINK}I look it up.\n\n{BLOCK}\n{INVOKE}\r\n{second}\n{BLOCK_END}") == (
        ["<think>", "</think>", BLOCK, *INVOKE_MARKERS, *INVOKE_MARKERS, BLOCK_END],
        ["\nt\n"],
        ["\n\nI look it up.\n\n"],
        [("f", PARAMETER, True), ("g.h", parameters, True)],
    )


def test_tags_without_the_marks_are_text():
    text = '<tool_calls><invoke name="f"></invoke></tool_calls>'
    assert parts(text) == ([], [], [text], [])


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (f"{BLOCK}\n<{DSML}invo", []),
        (f'{BLOCK}\n<{DSML}invoke name="get_wea', [("get_wea", None, False)]),
        (f'{BLOCK}\n<{DSML}invoke name="f"', [("f", None, False)]),
        (
            f'{BLOCK}\n<{DSML}invoke name="f">\n<{DSML}parameter name="a" str',
            [("f", f'<{DSML}parameter name="a" str', False)],
        ),
        (f"{BLOCK}\n{INVOKE[: -len('invoke>')]}", [("f", PARAMETER, False)]),
        (f"{BLOCK}\n{INVOKE}\n{INVOKE[:-1]}", [("f", PARAMETER, True), ("f", PARAMETER, False)]),
    ],
)
def test_a_call_that_breaks_off_keeps_what_it_has(text, calls):
    assert parts(text)[3] == calls


def test_a_turn_that_breaks_off_inside_of_a_character_of_a_tag_keeps_its_calls():
    raw = f"{BLOCK}\n{INVOKE}\n</{DSML}".encode()[:-1]
    assert [call.complete for call in DEEPSEEK_V4.parse(raw).calls] == [True]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (f"{BLOCK}{INVOKE}{INVOKE}{BLOCK_END}", [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t\n</think>\n\n" + CALL, [CALLS]),
        (THINK + "I look it up.\n\n" + CALL, [CALLS, BOTH]),
        (THINK + "Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        (f'{BLOCK}<{DSML}invoke name="f"></{DSML}invoke>{BLOCK_END}', [CALLS]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert kinds_of(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<think>t" + CALL,
        CALL[: -len(BLOCK_END)],
        CALL + BLOCK_END,
        BLOCK + BLOCK_END,
        f"{BLOCK}{INVOKE},{INVOKE}{BLOCK_END}",
        f'{BLOCK}<{DSML}invoke name="f">{PARAMETER}{BLOCK_END}',
        f'{BLOCK}<{DSML}invoke name="">{PARAMETER}</{DSML}invoke>{BLOCK_END}',
        f'{BLOCK}<{DSML}invoke name="f">text{PARAMETER}</{DSML}invoke>{BLOCK_END}',
        CALL.replace(' string="false"', ""),
        CALL.replace('"false"', '"maybe"'),
        CALL.replace(f"</{DSML}parameter>", "</parameter>"),
    ],
)
def test_a_turn_with_a_tag_too_many_or_missing_or_malformed_is_never_legal(text):
    assert kinds_of(text) == []


@pytest.mark.parametrize("text", ["Paris", " \n Paris\r\n", "", "5", "null", '"quoted"', '{"a": 1}', "<b> & </p>"])
def test_a_value_that_is_a_string_is_its_text(text):
    call = CALL.replace('"false">1', f'"true">{text}')
    assert read_calls(call) == [ToolCall("f", {"a": text})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        (" 1.5 ", 1.5),
        ("null", None),
        ("true", True),
        ('"Paris"', "Paris"),
        ('[1, {"b": []}]', [1, {"b": []}]),
    ],
)
def test_a_value_that_is_no_string_is_its_json(text, expected):
    (call,) = read_calls(CALL.replace(">1<", f">{text}<"))
    assert (type(call.arguments["a"]), call.arguments["a"]) == (type(expected), expected)


@pytest.mark.parametrize(
    "text",
    [
        *["Paris", "", "True", "NaN", "{'a': 1}", "[1,"],
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("9" * 100_000, id="huge"),
    ],
)
def test_a_call_with_a_value_that_is_neither_string_nor_json_cannot_be_read(text):
    assert read_calls(CALL.replace(">1<", f">{text}<")) == [None]


@pytest.mark.parametrize(
    "call",
    [
        INVOKE.replace(' string="false"', ""),
        INVOKE.replace('"false"', '"maybe"'),
        INVOKE.replace(f"</{DSML}parameter>", ""),
        INVOKE.replace(PARAMETER, f'<{DSML}parameter name="b" string="true">2{PARAMETER}'),
        INVOKE.replace(PARAMETER, f"text{PARAMETER}"),
        INVOKE.replace('">', ">", 1),
        INVOKE.replace(f"</{DSML}invoke>", ""),
    ],
)
def test_a_call_that_is_malformed_or_open_or_has_an_open_value_cannot_be_read(call):
    assert read_calls(f"{BLOCK}{call}{BLOCK_END}") == [None]
