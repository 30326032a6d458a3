"""`kimi`, the format of Kimi K2 models: tagged sections of tagged calls, the answer as plain text.

<think>reasoning</think>answer<|tool_calls_section_begin|>
<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|>
<|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>
<|tool_calls_section_end|>

The id of the call comes before its arguments. The name is the id without its prefix `functions.` and its number; if
these are missing, it is the whole id. Where the tools of the row are known and none has this name, the id is resolved
as in verl: to the only tool whose name the id contains (`functions_get_weather_1`, `functionsexec5`), or else to the
only one whose required parameters are all given. A call without arguments has the arguments {} if the tool requires
none. An unclosed call ends at the next call's opening tag or with its
section. A call outside of a section is answer text, which makes the turn illegal.

These models end a turn with `<|im_end|>`, which is not the tokenizer's end-of-sequence token and so is part of the
turn's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_verl.core.tool_calls import (
    BROKEN,
    NO_TOOLS,
    CallSpan,
    Kind,
    OpenCall,
    Span,
    ToolCall,
    ToolSchemas,
    Turn,
    WireFormat,
)
from rest_verl.formats.parse.json_calls import ends_in_string, find, json_arguments, strict_json, trimmed
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.open_json import open_arguments
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
    closing = _CLOSING.match(text, end) if is_closed or arguments is None else None
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


def read_kimi(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a complete call (`WireFormat.read`): the arguments as strict JSON, the name by the id and the tools."""
    try:
        arguments = strict_json(text[slice(*call.arguments)]) if call.arguments else {}
        name = _name_of(text, call, arguments, tools) if isinstance(arguments, dict) else ""
    except (ValueError, RecursionError):
        return None
    if not name or (call.arguments is None and (name not in tools or _required(tools[name]))):
        return None
    return ToolCall(name, arguments)


def read_open_kimi(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> OpenCall:
    """What is decided of an open call (`WireFormat.read_open`): nothing before the tag of its arguments."""
    if text[slice(*find(_STEP, text, call.whole[0] + len(_CALL)))] != _CALL_ARGUMENTS:
        return OpenCall()
    arguments = open_arguments(text, call.arguments)
    try:
        name = "" if arguments is None else _name_of(text, call, arguments, tools)
    except UnicodeDecodeError:
        return BROKEN
    return OpenCall(name, arguments) if name and arguments is not None else BROKEN


def _name_of(text: bytes, call: CallSpan, arguments: Mapping[str, Any], tools: ToolSchemas) -> str:
    """The name of the tool that a call's id means; UnicodeDecodeError if it is not UTF-8."""
    begin = call.whole[0] + len(_CALL)
    name = text[slice(*call.name)].decode("utf-8") if call.name else ""
    return _resolve(name, text[begin : find(_STEP, text, begin)[0]].strip().decode("utf-8"), arguments, tools)


def _resolve(name: str, identity: str, arguments: Mapping[str, Any], tools: ToolSchemas) -> str:
    """The tool that an id means; the name that the id has by itself if no tool, or more than one, is meant."""
    for written in (name, identity, identity.rpartition(":")[0]):
        if not tools or written in tools:
            return written
    compact = identity.lower().replace("-", "_")
    contained = [tool for tool in tools if tool.lower() in compact]
    fitting = [tool for tool, schema in tools.items() if (due := _required(schema)) and due <= arguments.keys()]
    return next((found[0] for found in (contained, fitting) if len(found) == 1), name)


def _required(schema: Any) -> set[str]:
    """The parameters that a tool requires."""
    required = schema.get("required") if isinstance(schema, Mapping) else None
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


_TAGS = Tags(calls=(_SECTION, _SECTION_END), scan_calls=_scan_section, stops=(b"<|im_end|>",), in_value=ends_in_string)

_ALL_TAGS = (*_TAGS.markup, _CALL, _CALL_ARGUMENTS, _CALL_END)

KIMI = WireFormat(
    parse_kimi,
    is_legal_kimi,
    read_kimi,
    markup=_ALL_TAGS,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_kimi,
)
