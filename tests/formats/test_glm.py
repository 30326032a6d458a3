"""The format `glm`: what is where in a turn, which turns are legal, and which values are read."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.glm import GLM

VIEW = FormatView(GLM)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls
kinds_of = VIEW.kinds_of

THINK = "<think>\nt\n</think>\n\n"
PAIR = "<arg_key>a</arg_key>\n<arg_value>1</arg_value>"
CALL = f"<tool_call>f\n{PAIR}\n</tool_call>"


def test_a_turn_with_reasoning_two_call_blocks_and_text():
    pairs = (
        "<arg_key>city</arg_key>\r\n<arg_value>Zürich {</arg_value>\r\n"
        "<arg_key>note</arg_key><arg_value>a </think> <b>\n\nc</arg_value>"
    )
    second = f"<tool_call>\r\ng.h\r\n{pairs}\r\n</tool_call>"
    assert parts(f"{THINK}I look it up.\n{CALL}\n{second}<|observation|>") == (
        [
            *["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_call>", "</tool_call>"],
            "<|observation|>",
        ],
        ["\nt\n"],
        ["\n\nI look it up.\n"],
        [("f", PAIR, True), ("g.h", pairs, True)],
    )


def test_a_call_begins_and_ends_with_its_own_text():
    raw = f"<tool_call> f\n{PAIR}\n</tool_call>".encode()
    (call,) = GLM.parse(raw).calls
    assert raw[slice(*call.whole)].decode() == f"f\n{PAIR}"


@pytest.mark.parametrize("stop", ["<|observation|>", "<|user|>"])
def test_the_token_that_ends_a_turn_is_a_marker_and_no_answer(stop):
    assert parts(f"Done.{stop}") == ([stop], [], ["Done."], [])
    assert parts(f"<think>t{stop}") == (["<think>", stop], ["t"], [], [])
    assert parts(f"<tool_call>f{stop}") == (["<tool_call>", stop], [], [], [("f", None, False)])
    assert parts(f"{stop}, I said") == ([], [], [f"{stop}, I said"], [])


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("<tool_call>", []),
        ("<tool_call>\n", []),
        ("<tool_call>get_wea", [("get_wea", None, False)]),
        ("<tool_call>f\n", [("f", None, False)]),
        ("<tool_call>f\n<arg_k", [("f", None, False)]),
        ("<tool_call>f<arg_k", [("f", None, False)]),
        ("<tool_call>f\n<arg_key>ci", [("f", "<arg_key>ci", False)]),
        ("<tool_call>f\n<arg_key>a</arg_key>\n", [("f", "<arg_key>a</arg_key>", False)]),
        (f"<tool_call>f\n{PAIR[:-3]}", [("f", PAIR[:-3], False)]),
        (f"<tool_call>f\n{PAIR}\n</tool_ca", [("f", PAIR, False)]),
        (f"<tool_call>{PAIR}</tool_call>", [(None, PAIR, True)]),
        ("<tool_call>f\ntext\n</tool_call>", [("f", None, True)]),
    ],
)
def test_a_call_that_breaks_off_or_is_malformed_keeps_what_it_has(text, calls):
    assert parts(text)[3] == calls


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (CALL + "<|observation|>", [CALLS]),
        (CALL + "\n" + CALL, [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t\n</think>\n\n" + CALL, [CALLS]),
        (THINK + "I look it up.\n" + CALL, [CALLS, BOTH]),
        (THINK + "Done.<|user|>", [ANSWER, NEITHER]),
        (THINK + "<|user|>", [NEITHER]),
        ("", [NEITHER]),
        ("<tool_call>f</tool_call>", [CALLS]),
        (f"<tool_call>f{PAIR}{PAIR}</tool_call>", [CALLS]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert kinds_of(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<think>t" + CALL,
        CALL[: -len("</tool_call>")],
        CALL + "</tool_call>",
        "<tool_call></tool_call>",
        CALL + "<tool_call>\n</tool_call>",
        f"<tool_call>{PAIR}</tool_call>",
        f"<tool_call>f\ng\n{PAIR}</tool_call>",
        f"<tool_call>f\n{PAIR},{PAIR}</tool_call>",
        f"<tool_call>f\n{PAIR}g</tool_call>",
        f"<tool_call>f\n{PAIR}</arg_value></tool_call>",
        "<tool_call>f<arg_key>a</arg_key></tool_call>",
        "<tool_call>f<arg_key>a</arg_key>=<arg_value>1</arg_value></tool_call>",
        "<tool_call>f<arg_key></arg_key><arg_value>1</arg_value></tool_call>",
        "<tool_call>f<arg_value>1</arg_value></tool_call>",
        "<tool_call>f<arg_key>a</arg_key><arg_value>1</tool_call>",
        f"<tool_call>f<arg_key>a</arg_key><arg_value>1{PAIR}</tool_call>",
    ],
)
def test_a_turn_with_a_tag_too_many_or_missing_or_malformed_is_never_legal(text):
    assert kinds_of(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" \n Paris, France \r\n", " \n Paris, France \r\n"),
        ('" Paris\\n"', " Paris\n"),
        (" 3 ", 3),
        ("null", None),
        ("nan", "nan"),
        ('[1, {"b": null}]', [1, {"b": None}]),
        ("", ""),
    ],
)
def test_a_value_is_json_where_it_is_json_and_text_elsewhere(text, expected):
    (call,) = read_calls(CALL.replace("1", text))
    assert (type(call.arguments["a"]), call.arguments["a"]) == (type(expected), expected)


@pytest.mark.parametrize("text", ["f", "f\n", "\n f \r\n"])
def test_a_call_without_parameters_has_no_arguments(text):
    assert read_calls(f"<tool_call>{text}</tool_call>") == [ToolCall("f", {})]


def test_a_key_is_stripped():
    assert read_calls(CALL.replace("<arg_key>a", "<arg_key>\n a ")) == [ToolCall("f", {"a": 1})]


@pytest.mark.parametrize(
    "call",
    [
        PAIR,
        f"f\ng\n{PAIR}",
        f"f\n{PAIR}g",
        "f<arg_key>a</arg_key>",
        "f<arg_key>a<arg_value>1</arg_value>",
        "f<arg_key>a</arg_key><arg_value>1",
        f"f<arg_key>b</arg_key><arg_value>2{PAIR}",
    ],
)
def test_a_call_that_is_malformed_or_has_an_open_value_cannot_be_read(call):
    assert read_calls(f"<tool_call>{call}</tool_call>") == [None]
