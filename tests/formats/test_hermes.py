"""The format `hermes`: what is where in a turn, and which turns are legal."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView

from rest_verl.formats import get_format

VIEW = FormatView(get_format("hermes"))
parts = VIEW.parts
legal = VIEW.legal

THINK = "<think>\nt\n</think>\n\n"
OBJECT = '{"name": "f", "arguments": {"a": 1}}'
CALL = f"<tool_call>\n{OBJECT}\n</tool_call>"


def test_a_turn_with_reasoning_two_call_blocks_and_text():
    second = '<tool_call>{"arguments": {"b": "</tool_call>"}, "name": "g"}</tool_call>'
    assert parts(f"{THINK}I look it up.\n{CALL}\n{second}") == (
        ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_call>", "</tool_call>"],
        ["\nt\n"],
        ["\n\nI look it up.\n"],
        [("f", '{"a": 1}', True), ("g", '{"b": "</tool_call>"}', True)],
    )


def test_plain_text_is_the_answer():
    assert parts("It rains in Zürich.") == ([], [], ["It rains in Zürich."], [])


def test_response_tags_are_no_tags_of_this_format():
    assert parts("<response> a </response>") == ([], [], ["<response> a </response>"], [])


def test_white_space_between_blocks_is_no_answer():
    assert parts(f"{THINK}{CALL}\n \r\n{CALL}\n")[2] == []


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
        (f"<tool_call>{OBJECT}</tool_call>", [CALLS]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if legal(text, kind)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<think>t" + CALL,
        "<think>t",
        CALL + "</think>" + THINK,
        CALL[: -len("</tool_call>")],
        CALL[: -len("\n</tool_call>") - 1],
        CALL + "</tool_call>",
        '<tool_call>\n{"name": "f", "arguments": {}\n</tool_call>',
        "<tool_call></tool_call>",
        "<tool_call>no call</tool_call>",
        f"<tool_call>{OBJECT}{OBJECT}</tool_call>",
    ],
)
def test_a_turn_with_a_block_too_many_or_unclosed_or_without_its_call_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


def test_two_calls_in_one_block_are_not_made_good_by_an_empty_block():
    assert not legal(f"<tool_call>{OBJECT}\n{OBJECT}</tool_call>\n<tool_call>\n</tool_call>", CALLS)


def test_a_stray_closing_tag_does_not_close_a_later_call_block():
    assert not legal(f"</tool_call>\n<tool_call>\n{OBJECT}\n", CALLS)


def test_a_stray_closing_tag_does_not_close_a_later_reasoning_block():
    assert not legal("a</think>It rains.<think>b", ANSWER)
