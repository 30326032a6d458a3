"""`kimi`, the format of Kimi K2 models: sections of calls in tags of their own, the answer as plain text.

<think>reasoning</think>answer<|tool_calls_section_begin|>
<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|>
<|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>
<|tool_calls_section_end|>

In front of the arguments stands the id of the call. The name is the id without its prefix `functions.` and its number;
where these are missing it is the whole id, as verl takes it. A call that is left open ends at the next call's opening
tag or with its section. A call outside of a section is answer text, which makes the turn illegal.

These models end a turn with `<|im_end|>`, which is not the tokenizer's end-of-sequence token and so stands in the
turn's text.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import CallSpan, Kind, Span, Turn, WireFormat
from rest_verl.formats.parse.json_calls import ends_in_string, find, json_arguments, read_named_call, trimmed
from rest_verl.formats.parse.tags import Tags, is_legal_order, parse_tagged

_SECTION, _SECTION_END = b"<|tool_calls_section_begin|>", b"<|tool_calls_section_end|>"
_CALL, _CALL_ARGUMENTS, _CALL_END = b"<|tool_call_begin|>", b"<|tool_call_argument_begin|>", b"<|tool_call_end|>"
_STEP = re.compile(b"|".join(map(re.escape, [_SECTION_END, _CALL, _CALL_ARGUMENTS, _CALL_END])))
_CLOSING = re.compile(rb"\s*(" + re.escape(_CALL_END) + rb")")
_PREFIX = b"functions."
# A turn may break off behind the colon.
_NUMBER = re.compile(rb":\d*\Z")
_ARGUMENTS = json_arguments(_SECTION_END, _CALL, _CALL_END)
# A prompt may have opened the reasoning, so that the turn holds its closing tag alone.
_ORDER = re.compile(
    rb"((<think>)?</think>)?"
    rb"(<\|tool_calls_section_begin\|>"
    rb"(<\|tool_call_begin\|>(functions\.)?(:\d+)?<\|tool_call_argument_begin\|><\|tool_call_end\|>)+"
    rb"<\|tool_calls_section_end\|>)*(<\|im_end\|>)?"
)


def parse_kimi(text: bytes) -> Turn:
    """Spans of one kimi turn; what stands outside of every block is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_kimi(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; complete calls with names in each section; an answer where one is
    due, and no tag of a call in it."""
    return (
        is_legal_order(_ORDER, text, turn, kind)
        and all(call.name is not None for call in turn.calls)
        and not any(_STEP.search(text, *span) for span in turn.response)
    )


def _scan_section(text: bytes, start: int, turn: Turn) -> int:
    """Take the calls of a section and its closing tag (`Tags.scan_calls`)."""
    position = start
    while tag := _STEP.search(text, position):
        turn.markers.append(tag.span())
        position = tag.end()
        if tag.group() == _SECTION_END:
            return position
        if tag.group() == _CALL:
            position = _take_call(text, tag, turn)
        # else a tag that belongs to no call: it is a marker and no more
    return len(text)


def _take_call(text: bytes, opening: re.Match[bytes], turn: Turn) -> int:
    """Take the call behind its opening tag; return where it ends."""
    stop, body = find(_STEP, text, opening.end())
    identity = trimmed(text, opening.end(), stop)
    name = _take_name(text, identity, turn) if identity else None
    if text[stop:body] != _CALL_ARGUMENTS:
        end = identity[1] if identity else opening.end()
        turn.calls.append(CallSpan((opening.start(), end), name, None, False))
        return stop
    turn.markers.append((stop, body))
    arguments, is_closed = _ARGUMENTS(text, body)
    end = arguments[1] if arguments else body
    closing = _CLOSING.match(text, end) if is_closed else None
    if closing is not None:
        turn.markers.append(closing.span(1))
        end = closing.end()
    turn.calls.append(CallSpan((opening.start(), end), name, arguments, closing is not None))
    return end


def _take_name(text: bytes, identity: Span, turn: Turn) -> Span | None:
    """Take the fixed text around the name in the id of a call; return the name."""
    start, end = identity
    if text.startswith(_PREFIX, start, end):
        turn.markers.append((start, start + len(_PREFIX)))
        start += len(_PREFIX)
    if number := _NUMBER.search(text, start, end):
        turn.markers.append(number.span())
        end = number.start()
    return (start, end) if end > start else None


_TAGS = Tags(
    calls=(_SECTION, _SECTION_END), scan_calls=_scan_section, stops=(b"<|im_end|>",), in_string=ends_in_string
)

KIMI = WireFormat(parse_kimi, is_legal_kimi, read_named_call)
