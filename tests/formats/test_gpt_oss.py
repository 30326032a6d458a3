"""The format `gpt-oss`: what is where in a turn, and which turns are legal."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from parts import labels_of, painted, text_of
from render_json import render_gpt_oss
from tiers import size

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.gpt_oss import GPT_OSS

VIEW = FormatView(GPT_OSS)
parts = VIEW.parts
legal = VIEW.legal
read_calls = VIEW.read_calls

NEXT = "<|start|>assistant"
THINK = "<|channel|>analysis<|message|>t<|end|>"
TALK = "<|channel|>commentary<|message|>I look it up.<|end|>"
FINAL = "<|channel|>final<|message|>Done.<|return|>"
HEADER = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
CALL = HEADER + '{"a": 1}<|call|>'
FOUND = ("f", '{"a": 1}', True)


def test_a_rendered_turn_has_the_regions_it_was_put_together_from():
    rendered = render_gpt_oss("Two.", [("f", {"a": "Zürich <|call|>"}), ("g.h", {})], "One moment.")
    text = text_of(rendered)
    assert painted(GPT_OSS.parse(text), len(text)) == labels_of(rendered)


def test_a_turn_with_reasoning_talk_and_a_call():
    assert parts(THINK + NEXT + TALK + NEXT + CALL) == (
        [
            *["<|channel|>analysis<|message|>", "<|end|>", NEXT + "<|channel|>commentary<|message|>", "<|end|>"],
            *[NEXT + "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", "<|call|>"],
        ],
        ["t"],
        ["I look it up."],
        [FOUND],
    )


def test_a_turn_with_reasoning_and_a_final_answer():
    assert parts(NEXT + THINK + NEXT + FINAL) == (
        [NEXT + "<|channel|>analysis<|message|>", "<|end|>", NEXT + "<|channel|>final<|message|>", "<|return|>"],
        ["t"],
        ["Done."],
        [],
    )


def test_a_call_runs_from_its_header_to_the_end_of_its_arguments():
    text = (THINK + NEXT + CALL).encode()
    (call,) = GPT_OSS.parse(text).calls
    assert text[slice(*call.whole)].decode() == NEXT + HEADER + '{"a": 1}'


@pytest.mark.parametrize(
    ("before", "name", "behind"),
    [
        ("<|channel|>commentary to=functions.", "f", " <|constrain|>json<|message|>"),
        ("<|channel|>commentary to=functions.", "f", "<|constrain|>json<|message|>"),
        ("<|channel|>commentary to=functions.", "f", " json<|message|>"),
        ("<|channel|>commentary to=functions.", "f", "<|message|>"),
        ("<|channel|>commentary to=functions.", "math.factorial", "<|message|>"),
        ("<|channel|>commentary to=", "python", " code<|message|>"),
        ("<|channel|>analysis to=functions.", "f", " <|constrain|>json<|message|>"),
        (NEXT + " to=functions.", "f", "<|channel|>commentary json<|message|>"),
        (" to=functions.", "f", "<|channel|>commentary json<|message|>"),
        (" to=functions.", "天気", "<|channel|>commentary <|constrain|>json<|message|>"),
    ],
)
def test_the_recipient_is_the_name_of_the_call_in_either_place_of_the_header(before, name, behind):
    assert parts(f'{before}{name}{behind}{{"a": 1}}<|call|>') == (
        [before, behind, "<|call|>"],
        [],
        [],
        [(name, '{"a": 1}', True)],
    )


def test_tags_in_strings_of_a_call_are_text_and_those_in_reasoning_end_it():
    arguments = '{\r\n "a": "<|call|><|start|>}\\"", "name": {"x": [1, "]}"]}}'
    text = f"<|channel|>analysis<|message|>a <|channel|>b<|message|>c{NEXT}{HEADER}{arguments} <|call|>"
    markers, think, response, calls = parts(text)
    assert (think, response, calls) == (["a "], ["c"], [("f", arguments, True)])
    assert markers[1:3] == ["<|channel|>b<|message|>", NEXT + "<|channel|>commentary to=functions."]


def test_a_call_inside_of_reasoning_is_reasoning_up_to_the_next_header():
    draft = 'I write to=functions.f json<|message|>{"a": 1}'
    assert parts(f"<|channel|>analysis<|message|>{draft}<|end|>")[1:] == ([draft], [], [])


def test_text_outside_of_every_message_is_answer_text():
    assert parts(f"a {THINK} \n{FINAL} b")[2] == ["a ", "Done.", " b"]


@pytest.mark.parametrize(
    "channel",
    ["<|channel|>final", "<|channel|>commentary", "<|channel|>analysis2", "<|channel|>commentary into=f", NEXT],
)
def test_a_message_that_is_neither_reasoning_nor_a_call_is_the_answer(channel):
    assert parts(f"{channel}<|message|>It rains.") == ([f"{channel}<|message|>"], [], ["It rains."], [])


def test_arguments_are_complete_at_the_end_of_the_turn():
    assert parts(CALL.replace("<|call|>", "\n"))[3] == [FOUND]


@pytest.mark.parametrize("end", ["<|end|>", "<|return|>", NEXT, " more<|call|>", " more"])
def test_arguments_with_anything_else_behind_them_leave_the_call_open(end):
    assert parts(HEADER + '{"a": 1}' + end)[2:] == ([], [("f", '{"a": 1}', False)])


def test_an_open_call_ends_at_the_next_message():
    assert parts(f'{HEADER}{{"a": [1 {NEXT}{CALL}')[3] == [("f", '{"a": [1', False), FOUND]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<|start|>assis", (["<|start|>assis"], [], [], [])),
        ("<|channel|>anal", (["<|channel|>anal"], [], [], [])),
        ("<|channel|>analysis<|message|>", (["<|channel|>analysis<|message|>"], [], [], [])),
        ("<|channel|>analysis<|message|>t", (["<|channel|>analysis<|message|>"], ["t"], [], [])),
        ("<|channel|>final<|message|> \n", (["<|channel|>final<|message|>"], [], [], [])),
        ("<|channel|>final<|end|>", (["<|channel|>final", "<|end|>"], [], [], [])),
        ("<|channel|>x to=", (["<|channel|>x to="], [], [], [(None, None, False)])),
        ("<|channel|>x to=func", (["<|channel|>x to="], [], [], [("func", None, False)])),
        ("<|channel|>x to=functions.f", (["<|channel|>x to=functions."], [], [], [("f", None, False)])),
        (
            '<|channel|>x to=f<|message|>{"a": "<|call|> \n',
            (["<|channel|>x to=", "<|message|>"], [], [], [("f", '{"a": "<|call|>', False)]),
        ),
        (
            "<|channel|>x to=f<|message|> no object <|call|>",
            (["<|channel|>x to=", "<|message|>", "<|call|>"], [], [], [("f", "no object", False)]),
        ),
        ("<|call|><|end|>", (["<|call|>", "<|end|>"], [], [], [])),
    ],
)
def test_a_truncated_or_malformed_message_keeps_what_it_has(text, found):
    assert parts(text) == found


def test_a_turn_cut_at_any_byte_keeps_the_calls_before_the_cut():
    text = (THINK + NEXT + CALL + NEXT + CALL.replace("to=functions.f", "to=functions.g")).encode()
    whole = GPT_OSS.parse(text).calls
    for cut in range(len(text)):
        calls = GPT_OSS.parse(text[:cut]).calls
        before = [call for call in whole if call.whole[1] + len("<|call|>") <= cut]
        begun = [call.whole[0] for call in whole if call.name[0] - len("functions.") <= cut]
        assert calls[: len(before)] == before
        assert [call.whole[0] for call in calls] == begun
        assert [call for call in calls if call.complete] == [
            call for call in whole if call.whole[1] == cut or call in before
        ]


def test_calls_are_read_by_value_and_what_is_no_call_is_none():
    written = ['{"a": "\\u00fc"}', "{}", '{"a": NaN}', '{"a": 1,}', "[1]", '{"a": 1']
    text = NEXT.join(f"{HEADER}{arguments}<|call|>" for arguments in written)
    assert read_calls(text) == [ToolCall("f", {"a": "ü"}), ToolCall("f", {}), None, None, None, None]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (NEXT + CALL, [CALLS]),
        (CALL.removesuffix("<|call|>"), [CALLS]),
        (CALL.replace(" <|constrain|>json", ""), [CALLS]),
        (CALL.replace("commentary", "analysis"), [CALLS]),
        (" to=functions.f<|channel|>commentary json<|message|>{}<|call|>", [CALLS]),
        (THINK + NEXT + " to=functions.f<|channel|>commentary json<|message|>{}<|call|>", [CALLS]),
        (CALL + NEXT + CALL, [CALLS]),
        (THINK + NEXT + CALL, [CALLS]),
        (THINK + NEXT + THINK + NEXT + CALL, [CALLS]),
        (THINK + NEXT + TALK + NEXT + CALL, [CALLS, BOTH]),
        (FINAL, [ANSWER, NEITHER]),
        (FINAL.removesuffix("<|return|>"), [ANSWER, NEITHER]),
        (FINAL.replace("<|return|>", "<|end|>"), [ANSWER, NEITHER]),
        (THINK + NEXT + FINAL, [ANSWER, NEITHER]),
        (TALK + NEXT + FINAL, [ANSWER, NEITHER]),
        (TALK, [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ("", [NEITHER]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if legal(text, kind)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        "Done.",
        "Done." + FINAL,
        FINAL + "Done.",
        THINK + FINAL,
        THINK + NEXT,
        THINK.removesuffix("<|end|>"),
        THINK.removesuffix("<|end|>") + NEXT + FINAL,
        TALK.removesuffix("<|end|>"),
        FINAL + NEXT + THINK,
        FINAL + NEXT + CALL,
        CALL + NEXT + FINAL,
        CALL + CALL,
        CALL + "<|call|>",
        CALL + "more",
        CALL.replace("<|call|>", "<|end|>"),
        CALL.replace("}", ""),
        CALL.replace("functions.f", "functions."),
        CALL.replace("functions.f", "python"),
        CALL.replace("<|call|>", NEXT + CALL),
        CALL.replace("<|channel|>commentary", NEXT),
        FINAL.replace("final", "other"),
        "<|start|>user<|message|>Thanks.<|end|>",
        f"{THINK}<|start|>functions.f to=assistant<|channel|>commentary<|message|>{{}}<|end|>{NEXT}{FINAL}",
    ],
)
def test_a_turn_with_text_between_messages_or_a_message_open_or_out_of_order_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


HOSTILE = {
    "starts": "<|start|>" * size(100_000),
    "channels": "<|channel|>" * size(100_000),
    "headers": "<|channel|>analysis<|message|>" * 40_000,
    "talk": (NEXT + THINK) * 20_000 + "x",
    "messages": "<|channel|>final" + "<|message|>" * size(100_000),
    "ends": "<|end|>" * size(100_000),
    "recipients": "<|channel|>" + " to=" * size(100_000),
    "open calls": (NEXT + HEADER + "{") * 20_000,
    "braces": HEADER + "{" * size(100_000),
    "spaced channels": "<|channel|>" + (" " * 1_000 + "<|channel|>") * 1_000,
    "white space": HEADER + "{}" + " " * size(1_000_000) + "x",
    "nulls": HEADER + "\0" * size(1_000_000),
    "lone surrogates": "<|channel|> to=" + "\ud800" * size(100_000),
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_parsed_judged_and_read(text):
    raw = text.encode("utf-8", "surrogatepass")
    turn = GPT_OSS.parse(raw)
    assert not GPT_OSS.is_legal(raw, turn, CALLS)
    assert set(GPT_OSS.read_calls(raw, turn)) <= {None}
    wholes = [call.whole for call in turn.calls]
    assert sum(end - start for start, end in wholes + turn.think + turn.response) <= len(raw)
