"""What the tag formats share: blocks, breaking off at any byte, hostile text."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples, size

from rest_verl.formats import get_format

FORMATS = ["rlla", "hermes"]
TAGS = [b"<think>", b"</think>", b"<tool_call>", b"</tool_call>", b"<response>", b"</response>"]

KEYS = {"rlla": b"parameters", "hermes": b"arguments"}


def in_format(format, text):
    """The text with the format's own key of arguments."""
    return text.replace(b'"arguments"', b'"' + KEYS[format] + b'"')


EXAMPLE = """\
<think> The user wants "two" things: {weather} and <tool_call>. Ünï </think>
<tool_call>
{"name": "get_weather", "arguments": {"city": "Zürich", "note": "} </tool_call> \\" {"}}
{"arguments": {"name": "inner", "list": [1, {"a": null}]}, "name": "get_time"}
</tool_call>
<response> One moment, 天気. </response>""".encode()


def read(text, spans):
    return [text[slice(*span)] for span in spans]


def all_spans(turn):
    return turn.markers + turn.think + turn.response + [call.whole for call in turn.calls]


def assert_consistent(text, turn):
    """Spans lie inside of the text, in order, and no two of them share a byte."""
    spans = sorted(all_spans(turn))
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    for kind in (turn.markers, turn.think, turn.response, [call.whole for call in turn.calls]):
        assert kind == sorted(kind)
    for call in turn.calls:
        parts = sorted(span for span in (call.name, call.arguments) if span is not None)
        edges = [call.whole[0], *(edge for span in parts for edge in span), call.whole[1]]
        assert edges == sorted(edges)
    assert all(marker in TAGS for marker in read(text, turn.markers))


@pytest.mark.parametrize("format", FORMATS)
def test_a_call_inside_of_reasoning_is_reasoning(format):
    text = b'<think> a <tool_call>{"name": "f", "arguments": {}}</tool_call> b </think>'
    turn = get_format(format).parse(text)
    assert read(text, turn.think) == [b' a <tool_call>{"name": "f", "arguments": {}}</tool_call> b ']
    assert turn.calls == []
    assert read(text, turn.markers) == [b"<think>", b"</think>"]


@pytest.mark.parametrize("format", FORMATS)
def test_reasoning_that_the_prompt_opened_ends_at_the_first_closing_tag(format):
    text = b'a <tool_call> b </think>\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    turn = get_format(format).parse(text)
    assert read(text, turn.think) == [b"a <tool_call> b "]
    assert read(text, turn.markers) == [b"</think>", b"<tool_call>", b"</tool_call>"]
    assert [text[slice(*call.name)] for call in turn.calls] == [b"f"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("draft", ['{"name": "draft", "arguments": {}}', '{"name": "draft", "arg', "{"])
def test_a_call_inside_of_reasoning_that_the_prompt_opened_is_reasoning(format, draft):
    reasoning = f"I could write <tool_call>\n{draft}\n</tool_call> but rather ".encode()
    text = reasoning + b'</think>\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    turn = get_format(format).parse(text)
    assert read(text, turn.think) == [reasoning]
    assert [text[slice(*call.name)] for call in turn.calls] == [b"f"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_think_tag_in_a_string_of_a_call_opens_and_closes_nothing(format):
    text = b'<tool_call>\n{"name": "note", "arguments": {"text": "a </think> b"}}\n</tool_call>'
    turn = get_format(format).parse(text)
    assert turn.think == []
    assert [text[slice(*call.name)] for call in turn.calls] == [b"note"]


@pytest.mark.parametrize("format", FORMATS)
def test_the_string_may_still_be_open(format):
    text = b'<tool_call>\n{"name": "note", "arguments": {"text": "a </think> b'
    turn = get_format(format).parse(text)
    assert turn.think == []
    assert [(text[slice(*call.name)], call.complete) for call in turn.calls] == [(b"note", False)]


@pytest.mark.parametrize("format", FORMATS)
def test_an_unclosed_reasoning_block_runs_to_the_end(format):
    text = b"<think> a <tool_call> {"
    turn = get_format(format).parse(text)
    assert read(text, turn.think) == [b" a <tool_call> {"]
    assert read(text, turn.markers) == [b"<think>"]


def test_an_unclosed_answer_runs_to_the_end():
    text = b"<think>a</think><response> b <think> c"
    turn = get_format("rlla").parse(text)
    assert read(text, turn.response) == [b" b <think> c"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_call_left_open_at_the_closing_tag_is_incomplete_and_the_next_block_is_read(format):
    text = b'<tool_call>{"name": "f", "arguments": {"a": 1\n</tool_call><tool_call>{"name": "g"}</tool_call>'
    text = in_format(format, text)
    turn = get_format(format).parse(text)
    assert [(text[slice(*call.name)], call.complete) for call in turn.calls] == [(b"f", False), (b"g", True)]
    assert text[slice(*turn.calls[0].arguments)] == b'{"a": 1'
    assert read(text, turn.markers) == [b"<tool_call>", b"</tool_call>"] * 2


@pytest.mark.parametrize("format", FORMATS)
def test_a_closing_tag_that_closes_nothing_is_a_marker(format):
    text = b"</tool_call> a <think>b</think>"
    turn = get_format(format).parse(text)
    assert read(text, turn.markers) == [b"</tool_call>", b"<think>", b"</think>"]
    assert read(text, turn.think) == [b"b"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_turn_cut_at_any_byte_keeps_the_calls_before_the_cut(format):
    parse = get_format(format).parse
    example = in_format(format, EXAMPLE)
    whole = parse(example).calls
    assert [example[slice(*call.name)] for call in whole] == [b"get_weather", b"get_time"]
    for cut in range(len(example) + 1):
        text = example[:cut]
        turn = parse(text)
        assert_consistent(text, turn)
        before = [call for call in whole if call.whole[1] <= cut]
        assert turn.calls[: len(before)] == before
        begun = [call for call in whole if call.whole[0] < cut < call.whole[1]]
        assert len(turn.calls) == len(before) + len(begun)
        assert not any(call.complete for call in turn.calls[len(before) :])
        for cut_call, call in zip(turn.calls[len(before) :], begun, strict=True):
            if cut >= call.name[0]:
                assert cut_call.name == (call.name[0], min(call.name[1], cut))
            if cut > call.arguments[0]:
                written = example[call.arguments[0] : min(call.arguments[1], cut)]
                assert text[slice(*cut_call.arguments)] == written.rstrip()


fragments = st.sampled_from(
    [
        *TAGS,
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b":",
        b",",
        b"\n",
        b" ",
        b"name",
        b'"name"',
        b'"arguments"',
        b"</",
        b"\0",
    ]
)


@pytest.mark.parametrize("format", FORMATS)
@examples(300)
@given(text=st.lists(fragments | st.binary(max_size=3), max_size=40).map(b"".join))
def test_any_bytes_have_spans_that_are_ordered_and_apart(format, text):
    assert_consistent(text, get_format(format).parse(text))


HOSTILE = {
    "opening braces": b"<tool_call>" + b"{" * size(100_000),
    "closing braces": b"<tool_call>" + b"}" * size(100_000),
    "calls in calls": b"<tool_call>{" * 90_000,
    "empty blocks": b"<tool_call>{}</tool_call>" * 40_000,
    "open blocks": b"<tool_call>{</tool_call>" * 40_000,
    "opening tags": b"<think>" * size(100_000),
    "closing tags": b"</think>" * size(100_000),
    "responses": b"<response>" * size(100_000),
    "half tags": b"<tool_call" * size(100_000),
    "quotes": b'<tool_call>{"name": ' + b'"' * (size(1_000_000) + 1),
    "backslashes": b'<tool_call>{"name": "' + b"\\" * (size(1_000_000) + 1),
    "keys": b'<tool_call>{"name": "f"' + b', "name": "f"' * 80_000,
    "nulls": b"<tool_call>" + b"\0" * size(1_000_000),
    "utf-16": '<tool_call>{"name": "f"}</tool_call>'.encode("utf-16-le") * 1000,
    "lone surrogates": ('<tool_call>{"name": "' + "\ud800" * size(100_000)).encode("utf-8", "surrogatepass"),
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("format", FORMATS)
def test_hostile_text_is_parsed(format, text):
    turn = get_format(format).parse(text)
    assert_consistent(text, turn)
    # Each byte is scanned as part of one call at most: the time is linear.
    assert sum(end - start for start, end in all_spans(turn)) <= len(text)


@pytest.mark.parametrize("format", FORMATS)
def test_an_unfinished_name_of_lone_surrogates_is_a_name(format):
    text = '<tool_call>{"name": "\ud800\udfff'.encode("utf-8", "surrogatepass")
    (call,) = get_format(format).parse(text).calls
    assert text[slice(*call.name)] == b"\xed\xa0\x80\xed\xbf\xbf"


@pytest.mark.parametrize("format", ["glm", "qwen3_coder"])
def test_where_values_are_plain_text_a_tag_that_reasoning_mentions_opens_no_call(format):
    text = b"I could write <tool_call>\n<function=f> or not.</think>\n"
    turn = get_format(format).parse(text)
    assert read(text, turn.think) == [b"I could write <tool_call>\n<function=f> or not."]
    assert turn.calls == []
