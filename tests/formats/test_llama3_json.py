"""The format `llama3_json`: what is where in a turn, and which turns are legal."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from parts import labels_of, painted, text_of
from render_json import render_llama3_json
from tiers import size

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.llama3_json import LLAMA3_JSON

VIEW = FormatView(LLAMA3_JSON)
legal = VIEW.legal
read_calls = VIEW.read_calls

F = '{"name": "f", "parameters": {"a": 1}}'
G = '{"name": "g", "parameters": {}}'
F_FOUND, G_FOUND = ("f", '{"a": 1}', True), ("g", "{}", True)


def parts(text):
    """What the parse found, as text: markers, response, and (name, arguments, complete) of each call."""
    raw = text.encode()
    turn = LLAMA3_JSON.parse(raw)
    assert turn.think == []

    def read(spans):
        return [span and raw[slice(*span)].decode() for span in spans]

    calls = [(*read([call.name, call.arguments]), call.complete) for call in turn.calls]
    return read(turn.markers), read(turn.response), calls


def test_a_rendered_turn_of_calls_has_the_regions_it_was_put_together_from():
    rendered = render_llama3_json("", [("f", {"a": "Zürich };"}), ("g.h", {})], "")
    text = text_of(rendered)
    assert painted(LLAMA3_JSON.parse(text), len(text)) == labels_of(rendered)


def test_a_turn_with_tags_and_two_calls():
    second = '{"type": "function", "parameters": {"name": "inner", "b": "; [{<|eom_id|>"}, "name": "g"}'
    assert parts(f"<|python_tag|>{F}; {second}<|eom_id|>") == (
        ["<|python_tag|>", ";", "<|eom_id|>"],
        [],
        [F_FOUND, ("g", '{"name": "inner", "b": "; [{<|eom_id|>"}', True)],
    )


def test_calls_in_a_list_are_told_apart_by_its_brackets_and_commas():
    assert parts(f"\n[{F},\r\n {G}]\n") == (["[", ",", "]"], [], [F_FOUND, G_FOUND])


def test_calls_may_be_separated_by_white_space_alone():
    assert parts(f"{F}\n{G}") == ([], [], [F_FOUND, G_FOUND])


def test_arguments_go_by_the_key_of_the_template():
    assert parts(F.replace("parameters", "arguments"))[2] == [("f", None, True)]


def test_a_turn_that_begins_with_text_is_an_answer_whatever_follows():
    text = f"I call it: {F}"
    assert parts(text) == ([], [text], [])


def test_the_tag_behind_an_answer_is_a_marker_and_one_in_its_midst_is_not():
    assert parts("It <|eot_id|> rains.<|eot_id|>\n") == (["<|eot_id|>"], ["It <|eot_id|> rains."], [])


def test_a_closed_object_without_a_name_is_an_answer():
    text = '{"rain": {"name": "drizzle"}}'
    assert parts(text) == ([], [text], [])


def test_text_beside_calls_is_answer_text():
    assert parts(f"{F} and then {G}, I think") == ([","], [" and then ", " I think"], [F_FOUND, G_FOUND])


def test_python_code_behind_its_tag_is_answer_text():
    assert parts('<|python_tag|>search.call(query="x")') == (["<|python_tag|>"], ['search.call(query="x")'], [])


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("{", (None, None, False)),
        ('{"na', (None, None, False)),
        ('{"parameters": {"a": 1}, ', (None, '{"a": 1}', False)),
        ('{"name": "f', ("f", None, False)),
        ('{"name": "f", "parameters": {"a": [1, \n', ("f", '{"a": [1,', False)),
        ('{"name": "f", "parameters": {"a": 1}', ("f", '{"a": 1}', False)),
        ('{"name": "f", "parameters": {"a": "x<|eot_id|>', ("f", '{"a": "x', False)),
        ('{"name": 7, "parameters": [1]}', (None, "[1]", True)),
    ],
)
def test_a_broken_call_keeps_what_it_has(text, call):
    assert parts(f"{G}; {text}")[1:] == ([], [G_FOUND, call])


def test_a_turn_cut_at_any_byte_keeps_the_calls_before_the_cut():
    text = f'[{F}, {{"name": "g", "parameters": {{"x": "ü }} \\" {{"}}}}]'.encode()
    whole = LLAMA3_JSON.parse(text).calls
    for cut in range(len(text)):
        calls = LLAMA3_JSON.parse(text[:cut]).calls
        before = [call for call in whole if call.whole[1] <= cut]
        assert calls[: len(before)] == before
        assert [call.whole[0] for call in calls] == [call.whole[0] for call in whole if call.whole[0] < cut]
        assert not any(call.complete for call in calls[len(before) :])


def test_calls_are_read_by_value_and_what_is_no_call_is_none():
    others = ['{"name": "caf\\u00e9", "parameters": {"a": [null]}}', '{"name": "f"}', '{"name": "f", "parameters": 1}']
    assert read_calls("; ".join([F, *others])) == [
        ToolCall("f", {"a": 1}),
        ToolCall("café", {"a": [None]}),
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (F, [CALLS]),
        (f"{F}<|eot_id|>", [CALLS]),
        (f"<|python_tag|>{F}<|eom_id|>\n", [CALLS]),
        (f"{F}; {G};{F}", [CALLS]),
        (f"{F}\n{G}", [CALLS]),
        (f"[{F}, {G}]", [CALLS]),
        ("Done.", [ANSWER, NEITHER]),
        ("Done.<|eot_id|>", [ANSWER, NEITHER]),
        ('{"rain": true}', [ANSWER, NEITHER]),
        ('[{"rain": true}, {"rain": false}]', [ANSWER, NEITHER]),
        ("[1] says so.", [ANSWER, NEITHER]),
        ("", [NEITHER]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if legal(text, kind)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        F[:-1],
        f"{F}; Done.",
        f"{F}, {G}",
        f"{F};; {G}",
        f"{F};",
        f"[{F}; {G}]",
        f"[{F} {G}]",
        f"[{F}, ]",
        f"[{F}",
        f"{F}]",
        f"<|python_tag|><|python_tag|>{F}",
        f"<|eom_id|>{F}",
        "<|python_tag|>",
        "<|python_tag|>Done.",
        f"I call it: <|python_tag|>{F}",
        "It <|eot_id|> rains.",
    ],
)
def test_a_turn_that_mixes_calls_and_text_or_separates_them_badly_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


HOSTILE = {
    "opening braces": b"{" * size(100_000),
    "opening brackets": b"[" * size(100_000),
    "closing brackets": b"[" + b"]" * size(100_000),
    "empty objects": b"{}" * size(100_000),
    "calls": b'{"name": "f"}; ' * 40_000,
    "opening tags": b"<|python_tag|>" * size(100_000),
    "ending tags": b"<|eom_id|>" * size(100_000) + b"x",
    "white space": b"{}" + b" " * size(1_000_000) + b"x",
    "spaced separators": b"{}" + b"  ;" * size(200_000),
    "nulls": b"[{" + b"\0" * size(1_000_000),
    "lone surrogates": ('{"name": "' + "\ud800" * size(100_000)).encode("utf-8", "surrogatepass"),
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_parsed_judged_and_read(text):
    turn = LLAMA3_JSON.parse(text)
    assert not LLAMA3_JSON.is_legal(text, turn, CALLS)
    assert set(LLAMA3_JSON.read_calls(text, turn)) <= {None}
    assert sum(end - start for start, end in [call.whole for call in turn.calls] + turn.response) <= len(text)
