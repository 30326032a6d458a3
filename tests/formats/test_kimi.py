"""The format `kimi`: what is where in a turn, and which turns are legal."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from parts import labels_of, painted, text_of
from render_json import render_kimi
from tiers import size

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.kimi import KIMI

VIEW = FormatView(KIMI)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls

THINK = "<think>t</think>"
OPEN, CLOSE = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
BEGIN, ARGUMENTS, END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
CALL = f'{BEGIN}functions.f:0{ARGUMENTS}{{"a": 1}}{END}'
SECTION = OPEN + CALL + CLOSE
FOUND = ("f", '{"a": 1}', True)


def test_a_rendered_turn_has_the_regions_it_was_put_together_from():
    rendered = render_kimi("Two.", [("f", {"a": f"Zürich {END}"}), ("g.h", {})], "One moment.")
    text = text_of(rendered)
    assert painted(KIMI.parse(text), len(text)) == labels_of(rendered)


def test_a_turn_with_reasoning_text_and_two_calls():
    arguments = f'{{\r\n "b": "{END}{CLOSE}\\"", "name": {{"x": [1, "]}}"]}}}}'
    second = f"{BEGIN} functions.math.factorial:12 {ARGUMENTS}\n{arguments}\n{END}"
    assert parts(f"<think>f, then g</think>I look it up.{OPEN}\n{CALL}\n{second}\n{CLOSE}\n") == (
        [
            *["<think>", "</think>", OPEN, BEGIN, "functions.", ":0", ARGUMENTS, END],
            *[BEGIN, "functions.", ":12", ARGUMENTS, END, CLOSE],
        ],
        ["f, then g"],
        ["I look it up."],
        [FOUND, ("math.factorial", arguments, True)],
    )


def test_a_call_runs_from_its_opening_to_its_closing_tag():
    text = SECTION.encode()
    (call,) = KIMI.parse(text).calls
    assert text[slice(*call.whole)].decode() == CALL


@pytest.mark.parametrize(
    "broken", [BEGIN, f"{BEGIN}functions.f:0", f"{BEGIN}f{ARGUMENTS}", f"{BEGIN}f{ARGUMENTS}{{}}"]
)
def test_a_call_that_breaks_off_runs_to_the_last_byte_it_has(broken):
    text = f"{OPEN}{broken}\n".encode()
    (call,) = KIMI.parse(text).calls
    assert text[slice(*call.whole)].decode() == broken


@pytest.mark.parametrize(
    ("identity", "name", "around"),
    [
        ("functions.f:0", "f", ["functions.", ":0"]),
        ("f:10", "f", [":10"]),
        ("functions.f", "f", ["functions."]),
        ("f", "f", []),
        ("functions.ns.f:0", "ns.f", ["functions.", ":0"]),
        ("ns:f:0", "ns:f", [":0"]),
        ("f:a", "f:a", []),
        ("Functions.f:0", "Functions.f", [":0"]),
        ("functions.functions.f:0", "functions.f", ["functions.", ":0"]),
        ("天気:0", "天気", [":0"]),
        ("functions.:0", None, ["functions.", ":0"]),
        (" \n", None, []),
    ],
)
def test_the_name_is_the_id_without_prefix_and_number(identity, name, around):
    markers, _, _, calls = parts(f"{OPEN}{BEGIN}{identity}{ARGUMENTS}{{}}{END}{CLOSE}")
    assert calls == [(name, "{}", True)]
    assert markers == [OPEN, BEGIN, *around, ARGUMENTS, END, CLOSE]


def test_a_call_inside_of_reasoning_is_reasoning():
    assert parts(f"<think>{SECTION}</think>Done.") == (["<think>", "</think>"], [SECTION], ["Done."], [])


def test_reasoning_that_the_prompt_opened_ends_at_its_closing_tag():
    assert parts(f"a {OPEN} b</think>{SECTION}")[1:] == ([f"a {OPEN} b"], [], [FOUND])


def test_a_call_outside_of_a_section_is_answer_text():
    assert parts(CALL) == ([], [], [CALL], [])


def test_a_call_left_open_ends_at_the_next_one_or_with_its_section():
    text = f'{OPEN}{BEGIN}f:0{ARGUMENTS}{{"a": [1 {BEGIN}g:1{BEGIN}h:2{ARGUMENTS}{{}}{CLOSE}{SECTION}'
    markers, _, _, calls = parts(text)
    assert calls == [("f", '{"a": [1', False), ("g", None, False), ("h", "{}", False), FOUND]
    assert markers.count(CLOSE) == 2


def test_text_between_the_arguments_and_the_closing_tag_leaves_the_call_open():
    assert parts(f"{OPEN}{BEGIN}f:0{ARGUMENTS}{{}} more{END}{CLOSE}")[3] == [("f", "{}", False)]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("", []),
        (BEGIN, [(None, None, False)]),
        (f"{BEGIN}func", [("func", None, False)]),
        (f"{BEGIN}functions.", [(None, None, False)]),
        (f"{BEGIN}functions.f:", [("f", None, False)]),
        (f"{BEGIN}functions.f:1", [("f", None, False)]),
        (f"{BEGIN}f:0{ARGUMENTS}", [("f", None, False)]),
        (f'{BEGIN}f:0{ARGUMENTS}{{"a": "{END} \n', [("f", f'{{"a": "{END}', False)]),
        (f"{BEGIN}f:0{ARGUMENTS}{{}}", [("f", "{}", False)]),
        (f"{BEGIN}f:0{ARGUMENTS}no object {END}", [("f", "no object", False)]),
        (f"{BEGIN}f:0{END}", [("f", None, False)]),
        (f"{ARGUMENTS}{{}}{END}", []),
    ],
)
def test_a_truncated_or_malformed_call_keeps_what_it_has(text, calls):
    assert parts(OPEN + text)[2:] == ([], calls)


def test_a_turn_cut_at_any_byte_keeps_the_calls_before_the_cut():
    text = f'{OPEN}{CALL}\n{BEGIN}g:1{ARGUMENTS}{{"b": "ü}}"}}\n{END}{CLOSE}'.encode()
    whole = KIMI.parse(text).calls
    for cut in range(len(text)):
        calls = KIMI.parse(text[:cut]).calls
        before = [call for call in whole if call.whole[1] <= cut]
        begun = [call.whole[0] for call in whole if call.whole[0] + len(BEGIN) <= cut]
        assert calls[: len(before)] == before
        assert [call.whole[0] for call in calls] == begun
        assert not any(call.complete for call in calls[len(before) :])


def test_calls_are_read_by_value_and_what_is_no_call_is_none():
    written = ['{"a": "\\u00fc"}', "{}", '{"a": NaN}', '{"a": 1,}', "[1]", '{"a": 1']
    text = OPEN + "".join(f"{BEGIN}functions.f.g:0{ARGUMENTS}{arguments}{END}" for arguments in written) + CLOSE
    assert read_calls(text) == [ToolCall("f.g", {"a": "ü"}), ToolCall("f.g", {}), None, None, None, None]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (SECTION, [CALLS]),
        (OPEN + CALL + "\n" + CALL + CLOSE, [CALLS]),
        (SECTION + SECTION, [CALLS]),
        (f"{OPEN}{BEGIN}f{ARGUMENTS}{{}}{END}{CLOSE}", [CALLS]),
        (THINK + SECTION, [CALLS]),
        ("t</think>" + SECTION, [CALLS]),
        (THINK + "I look it up." + SECTION, [CALLS, BOTH]),
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
        THINK + THINK + SECTION,
        "<think>t" + SECTION,
        SECTION + THINK,
        OPEN + CALL,
        OPEN + CLOSE,
        OPEN + "no call" + CLOSE,
        OPEN + CALL + "more" + CLOSE,
        OPEN + CALL + END + CLOSE,
        OPEN + CALL[: -len(END)] + CLOSE,
        OPEN + CALL[: -len(END) - 1] + END + CLOSE,
        f"{OPEN}{BEGIN}functions.:0{ARGUMENTS}{{}}{END}{CLOSE}",
        f"{OPEN}{BEGIN}f:0{END}{CLOSE}",
        CLOSE + CALL,
        CALL,
        "Done." + END,
    ],
)
def test_a_turn_with_a_tag_too_many_or_a_call_missing_or_open_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


HOSTILE = {
    "sections": OPEN * size(100_000),
    "open calls": OPEN + BEGIN * size(100_000),
    "calls without an opening": OPEN + (ARGUMENTS + "{" + END) * 40_000,
    "open arguments": OPEN + (BEGIN + "f:0" + ARGUMENTS + "{") * 40_000,
    "closing tags": OPEN + END * size(100_000),
    "braces": OPEN + BEGIN + "f" + ARGUMENTS + "{" * size(100_000),
    "colons": OPEN + BEGIN + ":" * size(100_000) + "x",
    "digits": OPEN + BEGIN + ":" + "1" * size(1_000_000) + "x",
    "prefixes": OPEN + BEGIN + "functions." * size(100_000),
    "white space": OPEN + BEGIN + "f" + ARGUMENTS + "{}" + " " * size(1_000_000) + "x",
    "opening think tags": "<think>" * size(100_000),
    "closing think tags": OPEN + "</think>" * size(100_000),
    "nulls": OPEN + BEGIN + "\0" * size(1_000_000),
    "lone surrogates": OPEN + BEGIN + "\ud800" * size(100_000),
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_parsed_judged_and_read(text):
    raw = text.encode("utf-8", "surrogatepass")
    turn = KIMI.parse(raw)
    assert not KIMI.is_legal(raw, turn, CALLS)
    assert set(KIMI.read_calls(raw, turn)) <= {None}
    wholes = [call.whole for call in turn.calls]
    assert sum(end - start for start, end in wholes + turn.think + turn.response) <= len(raw)


def test_the_token_that_ends_a_turn_is_a_marker_and_no_answer():
    assert parts("Done.<|im_end|>") == (["<|im_end|>"], [], ["Done."], [])
    assert parts("<|im_end|>, I said") == ([], [], ["<|im_end|>, I said"], [])
    assert legal("Done.<|im_end|>", ANSWER) and not legal("<|im_end|>", ANSWER)
