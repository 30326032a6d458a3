"""`mistral`, the format of Mistral models: `[TOOL_CALLS]` before each call, the answer as plain text.

[THINK]reasoning[/THINK]answer[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]get_time[ARGS]{}

A name may have spaces, on one line. Between name and arguments there may be `[CALL_ID]` with an id, and `[ARGS]` may
be missing. Older models write one JSON list of all calls, or one JSON object:

[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_time", "arguments": {}}]

A block of calls has no closing tag: it ends with its JSON value, at the next `[TOOL_CALLS]`, or with the turn. A
`[TOOL_CALLS]` without a name, an object or a list after it holds no call.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, Kind, OpenCall, ToolCall, ToolSchemas, Turn, WireFormat
from rest_verl.formats.parse.json_calls import (
    ObjectScanner,
    call_of,
    ends_in_string,
    json_arguments,
    read_json_call,
    read_named_call,
)
from rest_verl.formats.parse.markup import JSON_CALL, call_markup
from rest_verl.formats.parse.open_json import read_open_named, read_open_object
from rest_verl.formats.parse.tags import Tags, append, is_legal_outline, parse_tagged

_OPENING = b"[TOOL_CALLS]"
_OBJECTS = ObjectScanner(_OPENING)
_ARGUMENTS = json_arguments(_OPENING)
_LIST = re.compile(rb"\s*(\[)(?!(?:TOOL_CALLS|CALL_ID|ARGS|/?THINK)\])")
_LIST_STEP = re.compile(rb"[{,\]]|" + re.escape(_OPENING))
_OBJECT = re.compile(rb"\s*\{")
_NAMED = re.compile(
    rb"\s*(?P<name>[^\s\[{][^\[{\n]*(?=\[ARGS\]|\[CALL_ID\]|\{)|[^\s\[{]+)(?:\s*(?P<id>\[CALL_ID\][^\s\[{]*))?(?:\s*(?P<arguments>\[ARGS\]|(?=\{)))?"
)
_OPEN_OBJECT, _OPEN_NAMED = read_open_object(), read_open_named(read_named_call, b"[ARGS]")
_MARKUP = call_markup(b"[TOOL_CALLS", b"[CALL_ID", b"[ARGS", others=(JSON_CALL,))
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_OUTLINE = re.compile(
    rb"((\[THINK\])?\[/THINK\])?"
    rb"(\[TOOL_CALLS\](\[\{\}(,\{\})*\]|\{\}(\[CALL_ID\][^\[{]+)?(\[ARGS\])?))*"
)


def parse_mistral(text: bytes) -> Turn:
    """Spans of one mistral turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_mistral(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block, which is closed; complete calls after each `[TOOL_CALLS]`; an answer if one is due,
    without markup of calls."""
    return is_legal_outline(_OUTLINE, text, turn, kind) and not _MARKUP.is_in_answer(text, turn)


def read_mistral_call(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a complete call in either form (`WireFormat.read`)."""
    return read_json_call(text, call, tools) if _is_object(text, call) else read_named_call(text, call, tools)


def read_open_mistral_call(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> OpenCall:
    """What is decided of an open call in either form (`WireFormat.read_open`)."""
    return (_OPEN_OBJECT if _is_object(text, call) else _OPEN_NAMED)(text, call, tools)


def _is_object(text: bytes, call: CallSpan) -> bool:
    return text.startswith(b"{", call.whole[0])


def _scan_calls(text: bytes, start: int, turn: Turn) -> int:
    """Take the calls of one `[TOOL_CALLS]` (`Tags.scan_calls`)."""
    if named := _NAMED.match(text, start):
        return _take_named(text, named, turn)
    if opened := _LIST.match(text, start):
        turn.markers.append(opened.span(1))
        return _take_list(text, opened.end(), turn)
    if opened := _OBJECT.match(text, start):
        return _take_object(text, opened.end() - 1, turn)
    return start


def _take_named(text: bytes, named: re.Match[bytes], turn: Turn) -> int:
    """Take the call that begins with its name; return where it ends."""
    arguments, complete = None, False
    start, end = named.start("name"), named.end()
    name = (start, start + len(named["name"].rstrip()))
    if named["id"] is not None:
        turn.markers.append(named.span("id"))
    if named["arguments"] is not None:
        append(turn.markers, *named.span("arguments"))
        arguments, complete = _ARGUMENTS(text, end)
        end = arguments[1] if arguments else end
    turn.calls.append(CallSpan((start, end), name, arguments, complete))
    return end


def _take_list(text: bytes, start: int, turn: Turn) -> int:
    """Take the objects of a list up to its closing bracket; return where it ends."""
    position = start
    while found := _LIST_STEP.search(text, position):
        if found.group() == _OPENING:
            return found.start()
        if found.group() == b"{":
            position = _take_object(text, found.start(), turn)
            continue
        turn.markers.append(found.span())
        position = found.end()
        if found.group() == b"]":
            return position
    return len(text)


def _take_object(text: bytes, start: int, turn: Turn) -> int:
    """Take the call that is the object at text[start]; return where it ends."""
    found = _OBJECTS.scan(text, start)
    turn.calls.append(call_of(text, found, b"arguments"))
    return found.end


_TAGS = Tags(calls=(_OPENING, None), scan_calls=_scan_calls, think=(b"[THINK]", b"[/THINK]"), in_value=ends_in_string)

MISTRAL = WireFormat(
    parse_mistral,
    is_legal_mistral,
    read_mistral_call,
    markup=(*_TAGS.markup, b"[ARGS]", b"[CALL_ID]"),
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_mistral_call,
)
