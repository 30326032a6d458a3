"""The format `mistral`: what is where in a turn, in its newer and older forms, and which turns are legal."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from parts import labels_of, painted, text_of
from render_json import render_mistral, render_mistral_list
from tiers import size

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.formats.mistral import MISTRAL

VIEW = FormatView(MISTRAL)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls

THINK = "[THINK]t[/THINK]"
CALL = '[TOOL_CALLS]f[ARGS]{"a": 1}'
OBJECT = '{"name": "f", "arguments": {"a": 1}}'
FOUND = ("f", '{"a": 1}', True)


@pytest.mark.parametrize("thought", ["A [TOOL_CALLS] in thought.", ""])
@pytest.mark.parametrize("answer", ["Wait: [1, {2}].", ""])
@pytest.mark.parametrize("render", [render_mistral, render_mistral_list])
def test_a_turn_of_either_form_is_labelled_legal_and_read_back(render, thought, answer):
    calls = [("get_weather", {"city": "Zürich ] } [TOOL_CALLS]"}), ("math.factorial", {}), ("h", {"name": [1, {}]})]
    rendered = render(thought, calls, answer)
    text = text_of(rendered)
    turn = MISTRAL.parse(text)
    assert painted(turn, len(text)) == labels_of(rendered)
    assert MISTRAL.is_legal(text, turn, Kind(calls=True, answer=bool(answer)))
    assert MISTRAL.read_calls(text, turn) == [ToolCall(*call) for call in calls]


def test_a_turn_with_reasoning_text_and_two_calls():
    second = '[TOOL_CALLS]math.g[CALL_ID]x7Yz01abc[ARGS]{\r\n "b": "[TOOL_CALLS]h[ARGS]{\\"", "name": {}}'
    assert parts(f"[THINK]f or g?[/THINK]I look it up.{CALL}{second}\n") == (
        ["[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]", "[TOOL_CALLS]", "[CALL_ID]x7Yz01abc", "[ARGS]"],
        ["f or g?"],
        ["I look it up."],
        [FOUND, ("math.g", '{\r\n "b": "[TOOL_CALLS]h[ARGS]{\\"", "name": {}}', True)],
    )


def test_arguments_may_follow_the_name_without_a_marker():
    assert parts('[TOOL_CALLS]f{"a": 1}[TOOL_CALLS]g[CALL_ID]1 {}') == (
        ["[TOOL_CALLS]", "[TOOL_CALLS]", "[CALL_ID]1"],
        [],
        [],
        [FOUND, ("g", "{}", True)],
    )


def test_a_list_of_calls_ends_at_its_bracket_and_text_behind_it_is_the_answer():
    text = f'[TOOL_CALLS] [{OBJECT}, {{"arguments": {{"x": [1, "]"]}}, "name": "g", "id": "1"}}] Done.'
    assert parts(text) == (
        ["[TOOL_CALLS]", "[", ",", "]"],
        [],
        [" Done."],
        [FOUND, ("g", '{"x": [1, "]"]}', True)],
    )


def test_one_object_is_one_call():
    assert parts(f"[TOOL_CALLS] {OBJECT}\nDone.") == (["[TOOL_CALLS]"], [], ["\nDone."], [FOUND])


def test_a_call_inside_of_reasoning_is_reasoning():
    assert parts(f"[THINK]{CALL}[/THINK]Done.") == (["[THINK]", "[/THINK]"], [CALL], ["Done."], [])


def test_reasoning_that_the_prompt_opened_ends_at_its_closing_tag():
    text = f"a [TOOL_CALLS] b[/THINK]{CALL}"
    assert parts(text) == (["[/THINK]", "[TOOL_CALLS]", "[ARGS]"], ["a [TOOL_CALLS] b"], [], [FOUND])


def test_a_think_tag_in_a_string_of_a_call_opens_and_closes_nothing():
    assert parts('[TOOL_CALLS]f[ARGS]{"a": "[/THINK]"}')[1:] == ([], [], [("f", '{"a": "[/THINK]"}', True)])


def test_a_call_that_breaks_off_ends_at_the_next_one():
    text = '[TOOL_CALLS]f[ARGS]{"a": [1\n[TOOL_CALLS]g[TOOL_CALLS][{"name": "h"[TOOL_CALLS]i{}'
    assert parts(text)[3] == [("f", '{"a": [1', False), ("g", None, False), ("h", None, False), ("i", "{}", True)]


@pytest.mark.parametrize(
    ("text", "response", "calls"),
    [
        ("", [], []),
        (" ", [], []),
        ("f", [], [("f", None, False)]),
        ("f more", [" more"], [("f", None, False)]),
        ("f[CALL_ID]ab", [], [("f", None, False)]),
        ("f[ARGS]", [], [("f", None, False)]),
        ('f[ARGS]{"a": "b \n', [], [("f", '{"a": "b', False)]),
        ("f[ARGS] no object ", [], [("f", "no object", False)]),
        ("[ARGS]{}", ["[ARGS]{}"], []),
        ("[", [], []),
        ("[]", [], []),
        ('[{"na', [], [(None, None, False)]),
        ('[{"name": "f", "arguments": {"a', [], [("f", '{"a', False)]),
        ('{"name": "f"', [], [("f", None, False)]),
        ("[THINK]t", [], []),
    ],
)
def test_a_truncated_or_malformed_call_keeps_what_it_has(text, response, calls):
    assert parts(f"[TOOL_CALLS]{text}")[2:] == (response, calls)


@pytest.mark.parametrize("text", [f"a{CALL}[TOOL_CALLS]gg{{}}", f"a[TOOL_CALLS][{OBJECT}, {OBJECT}]"])
def test_a_turn_cut_at_any_byte_keeps_the_calls_before_the_cut(text):
    raw = text.encode()
    whole = MISTRAL.parse(raw).calls
    for cut in range(len(raw)):
        calls = MISTRAL.parse(raw[:cut]).calls
        before = [call for call in whole if call.whole[1] <= cut]
        assert calls[: len(before)] == before
        assert [call.whole[0] for call in calls] == [call.whole[0] for call in whole if call.whole[0] < cut]
        assert not any(call.complete for call in calls[len(before) :])


def test_calls_are_read_by_value_and_what_is_no_call_is_none():
    assert read_calls(
        '[TOOL_CALLS]f[ARGS]{"a": NaN}[TOOL_CALLS]f[ARGS]{"a": 1,}[TOOL_CALLS]f[ARGS]{"a": "\\u00fc"}'
        '[TOOL_CALLS]天気{}[TOOL_CALLS]f[TOOL_CALLS][{"name": "caf\\u00e9", "arguments": {}}, {"name": "f"}]'
    ) == [None, None, ToolCall("f", {"a": "ü"}), ToolCall("天気", {}), None, ToolCall("café", {}), None]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (CALL + "\n" + CALL, [CALLS]),
        ("[TOOL_CALLS]f[CALL_ID]ab[ARGS]{}", [CALLS]),
        ("[TOOL_CALLS]f{}", [CALLS]),
        (f"[TOOL_CALLS][{OBJECT}, {OBJECT}]", [CALLS]),
        (f"[TOOL_CALLS] {OBJECT}", [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t[/THINK]" + CALL, [CALLS]),
        (THINK + "I look it up." + CALL, [CALLS, BOTH]),
        ("Done.", [ANSWER, NEITHER]),
        (THINK + "Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ("", [NEITHER]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if legal(text, kind)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "[THINK]t" + CALL,
        CALL + THINK,
        CALL[:-1],
        "[TOOL_CALLS]",
        "[TOOL_CALLS]f",
        "[TOOL_CALLS][TOOL_CALLS]f{}",
        "[TOOL_CALLS][ARGS]{}",
        "[TOOL_CALLS][]",
        f"[TOOL_CALLS][{OBJECT}",
        f"[TOOL_CALLS][{OBJECT} {OBJECT}]",
        f"[TOOL_CALLS][{OBJECT}, ]",
        f"[TOOL_CALLS][{OBJECT}; {OBJECT}]",
        f"[TOOL_CALLS][{OBJECT} {OBJECT}][TOOL_CALLS]",
        "f[ARGS]{}",
        CALL + "[CALL_ID]x",
    ],
)
def test_a_turn_with_a_marker_too_many_or_a_call_missing_or_open_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


HOSTILE = {
    "opening markers": b"[TOOL_CALLS]" * size(100_000),
    "opening markers and braces": b"[TOOL_CALLS]{" * size(100_000),
    "opening markers and brackets": b"[TOOL_CALLS][" * size(100_000),
    "names": b"[TOOL_CALLS]f" * size(100_000),
    "names and braces": b"[TOOL_CALLS]f[ARGS]{" * 60_000,
    "ids": b"[TOOL_CALLS]f" + b"[CALL_ID]x" * size(100_000),
    "brackets": b"[TOOL_CALLS]" + b"[" * size(100_000),
    "braces": b"[TOOL_CALLS]f[ARGS]" + b"{" * size(100_000),
    "opening think tags": b"[THINK]" * size(100_000),
    "closing think tags": b"[TOOL_CALLS]f" + b"[/THINK]" * size(100_000),
    "white space": b"[TOOL_CALLS]f" + b" " * size(1_000_000) + b"x",
    "nulls": b"[TOOL_CALLS]" + b"\0" * size(1_000_000),
    "lone surrogates": ("[TOOL_CALLS]" + "\ud800" * size(100_000) + "{").encode("utf-8", "surrogatepass"),
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_parsed_judged_and_read(text):
    turn = MISTRAL.parse(text)
    assert not MISTRAL.is_legal(text, turn, CALLS)
    assert set(MISTRAL.read_calls(text, turn)) <= {None}
    wholes = [call.whole for call in turn.calls]
    assert sum(end - start for start, end in wholes + turn.think + turn.response) <= len(text)
