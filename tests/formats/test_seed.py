"""The format `seed`: what is where in a turn, which turns are legal, and which values are read."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView

from rest_verl.formats.seed import SEED

VIEW = FormatView(SEED)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls
kinds_of = VIEW.kinds_of

THINK = "<seed:think>\nt\n</seed:think>\n\n"
PARAMETER = "<parameter=a>1</parameter>"
FUNCTION = f"<function=f>\n{PARAMETER}\n</function>"
CALL = f"<seed:tool_call>\n{FUNCTION}\n</seed:tool_call>"
CALL_MARKERS = ["<seed:tool_call>", "<function=", ">", "</function>", "</seed:tool_call>"]


def test_a_turn_with_reasoning_two_call_blocks_and_text():
    parameters = "<parameter=city>Zürich {</parameter>\n<parameter=note>a </seed:think> <b>\n\nc</parameter>"
    second = f"<seed:tool_call>\r\n<function=g.h>\r\n{parameters}\r\n</function>\r\n</seed:tool_call>"
    assert parts(f"{THINK}I look it up.\n{CALL}\n{second}") == (
        ["<seed:think>", "</seed:think>", *CALL_MARKERS, *CALL_MARKERS],
        ["\nt\n"],
        ["\n\nI look it up.\n"],
        [("f", PARAMETER, True), ("g.h", parameters, True)],
    )


def test_tags_of_other_formats_are_text():
    text = f"<think>t</think><tool_call>{FUNCTION}</tool_call>"
    assert parts(text) == ([], [], [text], [])


def test_the_end_of_a_block_of_another_format_is_text_in_a_value():
    text = CALL.replace("1", "a </tool_call>")
    assert parts(text)[3] == [("f", "<parameter=a>a </tool_call></parameter>", True)]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("<seed:tool_call>\n<functi", []),
        ("<seed:tool_call>\n<function=get_wea", [("get_wea", None, False)]),
        ("<seed:tool_call>\n<function=f>\n<parameter=a>1 \n", [("f", "<parameter=a>1", False)]),
        (f"<seed:tool_call>\n<function=f>\n{PARAMETER}\n</functio", [("f", PARAMETER, False)]),
        (f"<seed:tool_call>\n{FUNCTION}\n</seed:tool_ca", [("f", PARAMETER, True)]),
    ],
)
def test_a_call_that_breaks_off_keeps_what_it_has(text, calls):
    assert parts(text)[3] == calls


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (CALL + "\n" + CALL, [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t\n</seed:think>\n\n" + CALL, [CALLS]),
        (THINK + "I look it up.\n" + CALL, [CALLS, BOTH]),
        (THINK + "Done.", [ANSWER, NEITHER]),
        ("t</seed:think>Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ("<seed:tool_call><function=f></function></seed:tool_call>", [CALLS]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert kinds_of(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<seed:think>t" + CALL,
        CALL[: -len("</seed:tool_call>")],
        CALL + "</seed:tool_call>",
        "<seed:tool_call></seed:tool_call>",
        f"<seed:tool_call>{FUNCTION}{FUNCTION}</seed:tool_call>",
        f"<seed:tool_call><function=f>{PARAMETER}</seed:tool_call>",
        "<seed:tool_call><function=></function></seed:tool_call>",
        f"<seed:tool_call><function=f>text{PARAMETER}</function></seed:tool_call>",
        "<seed:tool_call><function=f><parameter=a>1</function></seed:tool_call>",
        "<seed:tool_call><function=f><parameter=a 1</parameter></function></seed:tool_call>",
    ],
)
def test_a_turn_with_a_tag_or_call_too_many_or_one_missing_is_never_legal(text):
    assert kinds_of(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris", "Paris"),
        (" \n Paris, France \r\n", " \n Paris, France \r\n"),
        ("\u3000Paris\u00a0", "\u3000Paris\u00a0"),
        ('" Paris\\n"', " Paris\n"),
        (" 3 ", 3),
        ("false", False),
        ("Infinity", "Infinity"),
        ('"5"', "5"),
        ('[1, {"b": null}]', [1, {"b": None}]),
        ("", ""),
    ],
)
def test_a_value_is_json_where_it_is_json_and_text_elsewhere(text, expected):
    (call,) = read_calls(CALL.replace("1", text))
    assert (type(call.arguments["a"]), call.arguments["a"]) == (type(expected), expected)


@pytest.mark.parametrize(
    "call",
    [
        f"<function=>{PARAMETER}</function>",
        f"<function=f{PARAMETER}</function>",
        f"<function=f>{PARAMETER}",
        f"<function=f>text{PARAMETER}</function>",
        "<function=f><parameter=a>1</function>",
        f"<function=f><parameter=b>2{PARAMETER}</function>",
    ],
)
def test_a_call_that_is_malformed_or_open_or_has_an_open_value_cannot_be_read(call):
    assert read_calls(f"<seed:tool_call>{call}</seed:tool_call>") == [None]
