"""What the formats with parameters in tags share: round trips, breaking off at any byte, hostile text."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from parts import labels_of, painted, text_of
from render_xml import DSML, render_deepseek_v4, render_glm, render_minimax, render_qwen3_coder, render_seed
from tiers import examples, size

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.formats.deepseek_v4 import DEEPSEEK_V4
from rest_verl.formats.glm import GLM
from rest_verl.formats.minimax import MINIMAX
from rest_verl.formats.qwen3_coder import QWEN3_CODER
from rest_verl.formats.seed import SEED

KINDS = [Kind(calls, answer) for calls in (True, False) for answer in (True, False)]
FORMATS = {
    "qwen3_coder": (QWEN3_CODER, render_qwen3_coder),
    "seed": (SEED, render_seed),
    "minimax": (MINIMAX, render_minimax),
    "deepseek_v4": (DEEPSEEK_V4, render_deepseek_v4),
    "glm": (GLM, render_glm),
}
every_format = pytest.mark.parametrize("format", FORMATS)

PARTS = ("block", "call", "name_end", "opening", "key_end", "closing", "call_end", "block_end")
TAGS = {
    format: dict(zip(PARTS, tags.split(" | "), strict=True))
    for format, tags in {
        "qwen3_coder": "<tool_call> | <function= | > | <parameter= | > | </parameter> | </function> | </tool_call>",
        "seed": (
            "<seed:tool_call> | <function= | > | <parameter= | > | </parameter> | </function> | </seed:tool_call>"
        ),
        "minimax": (
            '<minimax:tool_call> | <invoke name=" | "> | <parameter name=" | "> | </parameter> | </invoke>'
            " | </minimax:tool_call>"
        ),
        "deepseek_v4": (
            '<DSMLtool_calls> | <DSMLinvoke name=" | "> | <DSMLparameter name=" | " string="true"> | </DSMLparameter>'
            " | </DSMLinvoke> | </DSMLtool_calls>"
        ).replace("DSML", DSML),
        "glm": "<tool_call> |  | \n | <arg_key> | </arg_key><arg_value> | </arg_value> |  | </tool_call>",
    }.items()
}

tag_texts = st.sampled_from(["</parameter>", "<parameter=a>", f"</{DSML}parameter>", "</arg_value>", "</think>"])
texts = st.lists(st.text(max_size=5) | tag_texts | st.sampled_from([*'\r\n "\\{}[]<>&', "null", "5"])).map("".join)
names = st.from_regex(r"[\w.-]{1,8}", fullmatch=True)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
calls_of = st.lists(st.tuples(names, st.dictionaries(names, values, max_size=3)), max_size=3)


@every_format
@examples(150)
@given(calls=calls_of, thought=st.sampled_from(["", "I think."]), answer=st.sampled_from(["", "It rains."]))
def test_any_call_comes_back_as_it_was_rendered(format, calls, thought, answer):
    wire_format, render = FORMATS[format]
    parts = render(thought, calls, answer)
    text = text_of(parts)
    assume(thought or b"</think>" not in text)  # else the prompt may have opened the reasoning that it ends
    turn = wire_format.parse(text)
    assert painted(turn, len(text)) == labels_of(parts)
    assert wire_format.is_legal(text, turn, Kind(calls=bool(calls), answer=bool(answer)))
    assert wire_format.read_calls(text, turn) == [ToolCall(name, arguments) for name, arguments in calls]


CALLS = [
    ("get_weather", {"city": "Zürich 東京", "note": 'a </think> & "b" </tool> {', "days": 3}),
    ("no_arguments", {}),
    ("lines", {"text": "one\n\n two", "list": [1, {"a": None}]}),
]


@every_format
def test_a_turn_cut_at_any_byte_keeps_the_calls_before_the_cut(format):
    wire_format, render = FORMATS[format]
    full = text_of(render("I think.", CALLS, "One moment."))
    whole = wire_format.parse(full).calls
    assert [full[slice(*call.name)].decode() for call in whole] == [name for name, _ in CALLS]
    for cut in range(len(full) + 1):
        text = full[:cut]
        turn = wire_format.parse(text)
        assert_consistent(text, turn)
        before = [call for call in whole if call.whole[1] <= cut and call in turn.calls]
        assert turn.calls[: len(before)] == before
        begun = turn.calls[len(before) :]
        assert not any(call.complete for call in begun)
        named = [call for call in whole if call.name[0] < cut]
        assert len(named) - len(before) <= len(begun) <= 1
        for call, cut_call in zip(named[len(before) :], begun, strict=False):
            assert cut_call.name == (call.name[0], min(call.name[1], cut))
            if cut_call.arguments is not None:
                written = full[call.arguments[0] : min(call.arguments[1], cut)]
                found = text[slice(*cut_call.arguments)]
                assert written.startswith(found)
                # what the cut left of a parameter's first tag is no parameter yet
                assert TAGS[format]["opening"].encode().startswith(written[len(found) :].strip())


@every_format
def test_a_cut_changes_no_region_up_to_the_last_call_before_it(format):
    wire_format, render = FORMATS[format]
    parts = render("I think.", CALLS, "One moment.")
    full, labels = text_of(parts), labels_of(parts)
    ends = [call.whole[1] for call in wire_format.parse(full).calls]
    for cut in range(ends[0], len(full)):
        settled = max(end for end in ends if end <= cut)
        assert painted(wire_format.parse(full[:cut]), cut)[:settled] == labels[:settled]


@every_format
def test_a_call_inside_of_reasoning_is_reasoning(format):
    wire_format, render = FORMATS[format]
    draft = text_of(render("", [("draft", {"a": 1})], "")).decode()
    text = text_of(render(f"I could write {draft} but", [("f", {})], ""))
    assert wire_format.read_calls(text, wire_format.parse(text)) == [ToolCall("f", {})]


@every_format
def test_a_call_inside_of_reasoning_that_the_prompt_opened_is_reasoning(format):
    wire_format, render = FORMATS[format]
    parts = render("I could write " + text_of(render("", [("draft", {"a": 1})], "")).decode(), [("f", {})], "")
    text = text_of(parts[1:])
    turn = wire_format.parse(text)
    assert painted(turn, len(text)) == labels_of(parts[1:])
    assert wire_format.is_legal(text, turn, Kind(calls=True, answer=False))


@every_format
def test_crlf_between_the_tags_is_white_space(format):
    wire_format, render = FORMATS[format]
    text = text_of(render("I think.", [("f", {"a": 1, "b": [2]}), ("g", {})], "")).replace(b"\n", b"\r\n")
    turn = wire_format.parse(text)
    assert wire_format.is_legal(text, turn, Kind(calls=True, answer=False))
    assert wire_format.read_calls(text, turn) == [ToolCall("f", {"a": 1, "b": [2]}), ToolCall("g", {})]


@every_format
@pytest.mark.parametrize(
    ("behind", "arguments"),
    [
        (
            "{opening}b{key_end}2{closing}{call_end}{block_end}",
            "{opening}a{key_end}1 <b>{opening}b{key_end}2{closing}",
        ),
        ("\n{call_end}{block_end}", "{opening}a{key_end}1 <b>"),
        ("\n{block_end}", "{opening}a{key_end}1 <b>"),
        (" \n", "{opening}a{key_end}1 <b>"),
    ],
)
def test_an_unclosed_value_ends_at_the_next_tag_of_the_calls_own_and_is_not_legal(format, behind, arguments):
    start = "{block}{call}f{name_end}{opening}a{key_end}1 <b>"
    text = (start + behind).format(**TAGS[format]).encode()
    wire_format, _ = FORMATS[format]
    turn = wire_format.parse(text)
    (call,) = turn.calls
    assert text[slice(*call.arguments)].decode() == arguments.format(**TAGS[format])
    assert not any(wire_format.is_legal(text, turn, kind) for kind in KINDS)


@every_format
@pytest.mark.parametrize("value", [b"\xff", b"\xed\xa0\x80", b"a\xc3"])
@pytest.mark.parametrize("place", [b"NAME", b"KEY", b"VALUE"])
def test_a_call_whose_bytes_are_no_utf8_cannot_be_read(format, value, place):
    wire_format, render = FORMATS[format]
    text = text_of(render("", [("NAME", {"KEY": "VALUE"})], "")).replace(place, value)
    turn = wire_format.parse(text)
    assert [call.complete for call in turn.calls] == [True]
    assert wire_format.read_calls(text, turn) == [None]


@every_format
def test_an_unfinished_name_of_lone_surrogates_is_a_name(format):
    text = (TAGS[format]["block"] + TAGS[format]["call"] + "\ud800\udfff").encode("utf-8", "surrogatepass")
    (found,) = FORMATS[format][0].parse(text).calls
    assert text[slice(*found.name)] == b"\xed\xa0\x80\xed\xbf\xbf"


fragments = st.sampled_from(
    [
        *sorted({tag for tags in TAGS.values() for tag in tags.values() if tag}),
        *["<think>", "</think>", "<seed:think>", "</seed:think>", "</arg_key>", "<arg_value>", "<|observation|>"],
        *["f", "1", '"', "\n", " ", "<", "\0"],
    ]
).map(str.encode)


@every_format
@examples(300)
@given(text=st.lists(fragments | st.binary(max_size=3), max_size=40).map(b"".join))
def test_any_bytes_have_spans_that_are_ordered_and_calls_that_can_be_asked_for(format, text):
    check_any(FORMATS[format][0], text)


@every_format
@examples(300)
@given(data=st.data())
def test_any_order_of_a_formats_own_tags_has_spans_that_are_ordered(format, data):
    tags = [*TAGS[format].values(), "{call}f{name_end}", "{opening}a{key_end}", "</think>", "f", "1", "\n"]
    order = data.draw(st.lists(st.sampled_from(tags), max_size=30))
    check_any(FORMATS[format][0], ("{block}" + "".join(order)).format(**TAGS[format]).encode())


def check_any(wire_format, text):
    turn = wire_format.parse(text)
    assert_consistent(text, turn)
    for call, read in zip(turn.calls, wire_format.read_calls(text, turn), strict=True):
        assert read is None or (call.complete and type(read.name) is str and type(read.arguments) is dict)
    for kind in KINDS:
        if wire_format.is_legal(text, turn, kind):
            assert all(call.complete and call.name is not None for call in turn.calls)


def assert_consistent(text, turn):
    """Spans lie inside of the text, in order, and those of one sort share no byte; a call's parts lie inside of it."""
    wholes = [call.whole for call in turn.calls]
    for spans in (turn.markers, [*turn.think, *turn.response, *wholes]):
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(sorted(spans)))
    assert all(spans == sorted(spans) for spans in (turn.markers, turn.think, turn.response, wholes))
    for call in turn.calls:
        parts = [span for span in (call.name, call.arguments) if span is not None]
        edges = [call.whole[0], *(edge for span in parts for edge in span), call.whole[1]]
        assert edges == sorted(edges)
        assert all(text[start:end] == text[start:end].strip() for start, end in parts)
    inside = [marker for marker in turn.markers for whole in wholes if whole[0] <= marker[0] and marker[1] <= whole[1]]
    apart = sorted([*wholes, *(marker for marker in turn.markers if marker not in inside)])
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(apart))


HOSTILE = {
    "blocks": "{block}",
    "calls": "{call}f{name_end}",
    "parameters": "{opening}a{key_end}",
    "half parameters": "{opening} ",
    "closing tags": "{closing}",
    "call ends": "{call_end}\n",
    "block ends": "{block_end}",
    "empty blocks": "{block}{block_end}",
    "closed parameters": "{opening}a{key_end}1{closing}",
    "whole calls": "{call}f{name_end}{call_end}\n",
    "whole blocks": "{block}{call}f{name_end}{call_end}{block_end}",
    "open calls": "{block}{call}f{name_end}{opening}{block_end}",
    "angles": "<",
    "nulls": "\0",
    "line breaks": "\n",
    "brackets": "[",
    "digits": "9",
    "thoughts": "<think>",
    "ends of thoughts": "</think>",
}


@pytest.mark.soon
@every_format
@pytest.mark.parametrize("repeated", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("start", ["", "{block}", "{block}{call}f{name_end}{opening}a{key_end}"])
def test_hostile_text_is_parsed_judged_and_read(format, repeated, start):
    text = (start + repeated * size(100_000) + "{closing}{call_end}{block_end}").format(**TAGS[format]).encode()
    wire_format, _ = FORMATS[format]
    turn = wire_format.parse(text)
    # Each byte is scanned as part of one call at most: the time is linear.
    assert sum(end - start for start, end in (call.whole for call in turn.calls)) <= len(text)
    readable = [call is not None for call in wire_format.read_calls(text, turn)]
    if wire_format.is_legal(text, turn, Kind(calls=True, answer=False)):
        # of these texts only a value that is all digits is a value that cannot be read
        assert readable and all(readable) == (repeated != "9" or format == "deepseek_v4")
