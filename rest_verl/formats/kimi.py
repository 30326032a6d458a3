"""`kimi`, the format of Kimi K2 models: tagged sections of tagged calls, the answer as plain text.

<think>reasoning</think>answer<|tool_calls_section_begin|>
<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|>
<|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>
<|tool_calls_section_end|>

The id of the call comes before its arguments. The name is the id without its prefix `functions.` and its number; if
these are missing, it is the whole id, as in verl. An unclosed call ends at the next call's opening tag or with its
section. A call outside of a section is answer text, which makes the turn illegal.

These models end a turn with `<|im_end|>`, which is not the tokenizer's end-of-sequence token and so is part of the
turn's text.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import CallSpan, Kind, Span, Turn, WireFormat
from rest_verl.formats.parse.json_calls import ends_in_string, find, json_arguments, read_named_call, trimmed
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, is_legal_order, parse_tagged

_SECTION, _SECTION_END = b"<|tool_calls_section_begin|>", b"<|tool_calls_section_end|>"
_CALL, _CALL_ARGUMENTS, _CALL_END = b"<|tool_call_begin|>", b"<|tool_call_argument_begin|>", b"<|tool_call_end|>"
_STEP = re.compile(b"|".join(map(re.escape, [_SECTION_END, _CALL, _CALL_ARGUMENTS, _CALL_END])))
_CLOSING = re.compile(rb"\s*(" + re.escape(_CALL_END) + rb")")
_PREFIX = b"functions."
# The digits may be missing: a turn may be cut after the colon.
_NUMBER = re.compile(rb":\d*\Z")
_ARGUMENTS = json_arguments(_SECTION_END, _CALL, _CALL_END)
_MARKUP = call_markup(b"<|tool_call")  # all of its tags begin so
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_ORDER = re.compile(
    rb"((<think>)?</think>)?"
    rb"(<\|tool_calls_section_begin\|>"
    rb"(<\|tool_call_begin\|>(functions\.)?(:\d+)?<\|tool_call_argument_begin\|><\|tool_call_end\|>)+"
    rb"<\|tool_calls_section_end\|>)*(<\|im_end\|>)?"
)


def parse_kimi(text: bytes) -> Turn:
    """Spans of one kimi turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_kimi(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; complete calls with names in each section; an answer if one is
    due, without markup of calls."""
    return (
        is_legal_order(_ORDER, text, turn, kind)
        and all(call.name is not None for call in turn.calls)
        and not _MARKUP.is_in_answer(text, turn)
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
        # else a tag outside of any call: only a marker
    return len(text)


def _take_call(text: bytes, opening: re.Match[bytes], turn: Turn) -> int:
    """Take the call after its opening tag; return where it ends."""
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
    """Take the fixed text around the name in the id of a call as markers; return the span of the name."""
    start, end = identity
    if text.startswith(_PREFIX, start, end):
        turn.markers.append((start, start + len(_PREFIX)))
        start += len(_PREFIX)
    if number := _NUMBER.search(text, start, end):
        turn.markers.append(number.span())
        end = number.start()
    return (start, end) if end > start else None


_TAGS = Tags(calls=(_SECTION, _SECTION_END), scan_calls=_scan_section, stops=(b"<|im_end|>",), in_value=ends_in_string)

KIMI = WireFormat(parse_kimi, is_legal_kimi, read_named_call, _MARKUP.is_malformed_call)
