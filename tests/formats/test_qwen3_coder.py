"""The format `qwen3_coder`: what is where in a turn, which turns are legal, and which values are read."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.qwen3_coder import QWEN3_CODER

VIEW = FormatView(QWEN3_CODER)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls
kinds_of = VIEW.kinds_of

THINK = "<think>\nt\n</think>\n\n"
PARAMETER = "<parameter=a>\n1\n</parameter>"
FUNCTION = f"<function=f>\n{PARAMETER}\n</function>"
CALL = f"<tool_call>\n{FUNCTION}\n</tool_call>"
CALL_MARKERS = ["<tool_call>", "<function=", ">", "</function>", "</tool_call>"]


def test_a_turn_with_reasoning_two_call_blocks_and_text():
    parameters = "<parameter=city>\nZürich {\n</parameter>\n<parameter=note>\na </think> <b>\n\nc\n</parameter>"
    second = f"<tool_call>\r\n<function=g.h>\r\n{parameters}\r\n</function>\r\n</tool_call>"
    assert parts(f"{THINK}I look it up.\n{CALL}\n{second}") == (
        ["<think>", "</think>", *CALL_MARKERS, *CALL_MARKERS],
        ["\nt\n"],
        ["\n\nI look it up.\n"],
        [("f", PARAMETER, True), ("g.h", parameters, True)],
    )


def test_calls_in_one_block_are_told_apart():
    text = f"<tool_call>\n{FUNCTION}\n<function=g>\n</function>\n</tool_call>"
    inner = ["<function=", ">", "</function>"]
    assert parts(text) == (
        ["<tool_call>", *inner, *inner, "</tool_call>"],
        [],
        [],
        [("f", PARAMETER, True), ("g", None, True)],
    )


def test_a_call_outside_of_every_block_is_answer():
    assert parts(FUNCTION) == ([], [], [FUNCTION], [])


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("<tool_call>\n", []),
        ("<tool_call>\n<functi", []),
        ("<tool_call>\n<function=", [(None, None, False)]),
        ("<tool_call>\n<function=get_wea", [("get_wea", None, False)]),
        ("<tool_call>\n<function=f>", [("f", None, False)]),
        ("<tool_call>\n<function=f>\n<parame", [("f", None, False)]),
        ("<tool_call>\n<function=f>\n<parameter=ci", [("f", "<parameter=ci", False)]),
        ("<tool_call>\n<function=f>\n<parameter=a>\n1 \n", [("f", "<parameter=a>\n1", False)]),
        ("<tool_call>\n<function=f>\n<parameter=a>\n1\n</para", [("f", "<parameter=a>\n1\n</para", False)]),
        (f"<tool_call>\n<function=f>\n{PARAMETER}\n", [("f", PARAMETER, False)]),
        (f"<tool_call>\n<function=f>\n{PARAMETER}\n</functio", [("f", PARAMETER, False)]),
        (f"<tool_call>\n{FUNCTION}\n</tool_ca", [("f", PARAMETER, True)]),
        (f"<tool_call>\n<function=f>\n{PARAMETER}\n</tool_call>", [("f", PARAMETER, False)]),
    ],
)
def test_a_call_that_breaks_off_keeps_what_it_has(text, calls):
    assert parts(text)[3] == calls


def test_a_block_left_open_in_a_call_ends_at_its_closing_tag_and_the_next_is_read():
    text = f"<tool_call>\n<function=f>\n<parameter=a>\n1\n</tool_call>\n{CALL}"
    markers, _, response, calls = parts(text)
    assert markers == ["<tool_call>", "<function=", ">", "</tool_call>", *CALL_MARKERS]
    assert response == []
    assert calls == [("f", "<parameter=a>\n1", False), ("f", PARAMETER, True)]


def test_a_closing_tag_that_closes_no_parameter_belongs_to_no_arguments():
    text = f"<tool_call><function=f></parameter>{PARAMETER}\n</parameter></function></tool_call>"
    assert parts(text)[3] == [("f", PARAMETER, True)]


def test_a_name_ends_at_a_tag_or_at_the_end_of_its_line():
    assert parts(f"<tool_call><function=f{PARAMETER}</function></tool_call>")[3] == [("f", PARAMETER, True)]
    assert parts(f"<tool_call><function= f \n{PARAMETER}</function></tool_call>")[3] == [("f", PARAMETER, True)]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (CALL + "\n" + CALL, [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t\n</think>\n\n" + CALL, [CALLS]),
        (THINK + "I look it up.\n" + CALL, [CALLS, BOTH]),
        (CALL + "\nDone.", [CALLS, BOTH]),
        ("Done.", [ANSWER, NEITHER]),
        (THINK + "Done.", [ANSWER, NEITHER]),
        ("t</think>Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ("", [NEITHER]),
        ("<tool_call><function=f></function></tool_call>", [CALLS]),
        (f"<tool_call>{FUNCTION}{FUNCTION}</tool_call>", [CALLS]),
        ("<tool_call><function=f><parameter=a><b></parameter></function></tool_call>", [CALLS]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert kinds_of(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<think>t" + CALL,
        CALL + "</think>" + THINK,
        CALL[: -len("</tool_call>")],
        CALL + "</tool_call>",
        "</tool_call>" + CALL,
        "<tool_call></tool_call>",
        "<tool_call>no call</tool_call>",
        '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
        f"<tool_call>{FUNCTION} and</tool_call>",
        f"<tool_call>{FUNCTION}</function></tool_call>",
        f"<tool_call><function=f>{PARAMETER}</tool_call>",
        "<tool_call><function=></function></tool_call>",
        "<tool_call><function= ></function></tool_call>",
        f"<tool_call><function=f{PARAMETER}</function></tool_call>",
        "<tool_call><function=f>text</function></tool_call>",
        f"<tool_call><function=f>text{PARAMETER}</function></tool_call>",
        f"<tool_call><function=f>{PARAMETER}text</function></tool_call>",
        f"<tool_call><function=f>{PARAMETER},{PARAMETER}</function></tool_call>",
        f"<tool_call><function=f>{PARAMETER}</parameter></function></tool_call>",
        f"<tool_call><function=f><function=g>{PARAMETER}</function></tool_call>",
        f"<tool_call><function=f><parameter=a>1{PARAMETER}</function></tool_call>",
        "<tool_call><function=f><parameter=a>1</function></tool_call>",
        "<tool_call><function=f><parameter=>1</parameter></function></tool_call>",
        "<tool_call><function=f><parameter=a\n1</parameter></function></tool_call>",
        "<tool_call><function=f><parameter=a></tool_call></parameter></function></tool_call>",
    ],
)
def test_a_turn_with_a_tag_too_many_or_missing_or_text_beside_the_parameters_is_never_legal(text):
    assert kinds_of(text) == []


def value(text):
    (call,) = read_calls(f"<tool_call>\n<function=f>\n<parameter=a>{text}</parameter>\n</function>\n</tool_call>")
    return call.arguments["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nParis\n", "Paris"),
        ("Paris", "Paris"),
        ("\n\n Paris \n\n", "\n Paris \n"),
        ("\n\n", ""),
        ("\n", ""),
        ("", ""),
        ("\n3\n", 3),
        ("\n -1.5e3 \n", -1500.0),
        ("\ntrue\n", True),
        ("\nnull\n", None),
        ("\nTrue\n", "True"),
        ("\nNaN\n", "NaN"),
        ('\n"5"\n', "5"),
        ('\n{"name": [1, {"b": "\\u00fc"}]}\n', {"name": [1, {"b": "ü"}]}),
        ('\n{\n  "a": 1\n}\n', {"a": 1}),
        ("\n{'a': 1}\n", "{'a': 1}"),
        ("\n[1, 2\n", "[1, 2"),
        ("\na <b> & </function </p>\n", "a <b> & </function </p>"),
        ("\r\n1\r\n", 1),
        pytest.param("[" * 100_000, "[" * 100_000, id="deep"),
    ],
)
def test_json_is_read_as_json_and_other_text_as_it_is_but_for_a_newline_on_each_side(text, expected):
    found = value(text)
    assert (type(found), found) == (type(expected), expected)


def test_a_call_without_parameters_has_no_arguments():
    assert read_calls("<tool_call>\n<function=f>\n</function>\n</tool_call>") == [ToolCall("f", {})]


def test_of_two_parameters_with_one_key_the_last_counts():
    second = PARAMETER.replace("1", "2")
    assert read_calls(f"<tool_call><function=f>{PARAMETER}{second}</function></tool_call>") == [
        ToolCall("f", {"a": 2})
    ]


@pytest.mark.parametrize("second", ["", "<parameter=b>\n2\n</parameter>"])
def test_an_unclosed_value_is_read_up_to_the_next_parameter_or_the_calls_end(second):
    (call,) = read_calls(f"<tool_call>\n<function=f>\n<parameter=a>\nx\n{second}</function>\n</tool_call>")
    assert call == ToolCall("f", {"a": "x", "b": 2} if second else {"a": "x"})


@pytest.mark.parametrize(
    "call",
    [
        f"<function=>{PARAMETER}</function>",
        f"<function=f{PARAMETER}</function>",
        f"<function=f>{PARAMETER}",
        f"<function=f>text{PARAMETER}</function>",
        f"<function=f>{PARAMETER}text</function>",
        f"<function=f>{PARAMETER}</parameter></function>",
        "<function=f><parameter=a</parameter></function>",
        "<function=f><parameter=a><parameter=b</parameter></function>",
        "<function=f></parameter></function>",
    ],
)
def test_a_call_that_is_malformed_or_open_cannot_be_read(call):
    assert read_calls(f"<tool_call>{call}</tool_call>") == [None]
