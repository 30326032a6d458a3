"""What is decided of calls in JSON that are still being written (`WireFormat.read_open`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rest_verl.core.tool_calls import BROKEN, UNDECIDED, CallSpan, OpenCall, Span, ToolCall, ToolSchemas
from rest_verl.formats.parse.json_calls import Member, ObjectScanner, strict_json

_OBJECTS = ObjectScanner()
# The parts exclude each other: matching is linear.
_STRUCTURE = re.compile(r'[{}\[\]]|"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*(?P<closing>"?)')
_CLOSING = {"{": "}", "[": "]"}
_CUT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CUT_WORD = re.compile(r"[\w.+-]+\Z")
# What turns the beginning of a value into a whole one, but for its brackets.
_AFTER_STRING, _AFTER_OTHERS = ('"', '":0'), ("", "0", ":0", '"":0')


def begins_json(text: bytes) -> bool:
    """Whether JSON can begin so: brackets closed and the last value completed, it can be read. Of a number or word at
    the end of the text it is asked only whether a value may stand there."""
    try:
        written = _CUT_ESCAPE.sub(r"\1", text.decode("utf-8"))
    except UnicodeDecodeError:
        return False
    open_brackets: list[str] = []
    in_string = False
    for token in _STRUCTURE.finditer(written):
        kind = token.group()[0]
        if kind in _CLOSING:
            open_brackets.append(_CLOSING[kind])
        elif kind == '"':
            in_string = not token["closing"] and token.end() == len(written)
        elif not open_brackets or open_brackets.pop() != kind:
            return False
    if not in_string:
        written = _CUT_WORD.sub("0", written)
    closing = "".join(reversed(open_brackets))
    return any(_is_json(written + tail + closing) for tail in (_AFTER_STRING if in_string else _AFTER_OTHERS))


def read_open_object(arguments_key: bytes = b"arguments") -> Callable[[bytes, CallSpan, ToolSchemas], OpenCall]:
    """Reader of open calls that are one JSON object, whose arguments have the given key."""

    def read_open(text: bytes, call: CallSpan, tools: ToolSchemas) -> OpenCall:
        return open_object(text[slice(*call.whole)], arguments_key)

    return read_open


def open_object(text: bytes, arguments_key: bytes) -> OpenCall:
    """What is decided of a call, from its bytes so far, which begin with its brace."""
    if not begins_json(text):
        return BROKEN
    found = _OBJECTS.scan_any(text, 0)
    name, arguments = found.last(b"name"), found.last(arguments_key)
    named = UNDECIDED if name is None else _value(text, name)
    if not (named is UNDECIDED or isinstance(named, str)):
        return BROKEN
    if arguments is not None and not text.startswith(b"{", arguments.start):
        return BROKEN
    members = {} if arguments is None else open_members(text[: arguments.end], arguments.start)
    return OpenCall(None if named is UNDECIDED else named, members)


def open_members(text: bytes, start: int) -> dict[str, Any]:
    """The members of the object whose brace is at text[start], as far as they are decided; the last of repeated keys
    counts."""
    found = _OBJECTS.scan_any(text, start)
    members = {_key(member.key): _value(text, member, found.complete) for member in found.members}
    return members if found.key is None else members | {_key(found.key): UNDECIDED}


def open_arguments(text: bytes, arguments: Span | None) -> dict[str, Any] | None:
    """The decided members of an open object of arguments at the end of a text; None if they cannot be read."""
    if arguments is None:
        return {}
    written = text[slice(*arguments)]
    return open_members(written, 0) if written.startswith(b"{") and begins_json(written) else None


def read_open_named(
    read: Callable[[bytes, CallSpan, ToolSchemas], ToolCall | None], *before_arguments: bytes
) -> Callable[[bytes, CallSpan, ToolSchemas], OpenCall]:
    """Reader of open calls whose name stands before a JSON object of arguments.

    Args:
        read: the format's reader of complete calls, which reads the name.
        before_arguments: tags after which arguments follow, so that the name is decided.
    """

    def read_open(text: bytes, call: CallSpan, tools: ToolSchemas) -> OpenCall:
        if call.name is None or (call.arguments is None and not text.rstrip().endswith(before_arguments)):
            return OpenCall()
        start = len(text) if call.arguments is None else call.arguments[0]
        without = CallSpan((call.whole[0], start + 2), call.name, (start, start + 2), True)
        named = read(text[:start] + b"{}", without, tools)
        arguments = open_arguments(text, call.arguments)
        return BROKEN if named is None or arguments is None else OpenCall(named.name, arguments)

    return read_open


def _key(key: bytes) -> str:
    try:
        return strict_json(b'"' + key + b'"')
    except (ValueError, RecursionError):
        return key.decode("utf-8", "replace")


def _value(text: bytes, member: Member, complete: bool = False) -> Any:
    """The value of a member; `UNDECIDED` while it may go on."""
    written = text[member.start : member.end]
    is_last = member.end >= len(text.rstrip()) and not complete
    if is_last and written[-1:] not in (b'"', b"}", b"]"):
        return UNDECIDED
    try:
        return strict_json(written)
    except (ValueError, RecursionError):
        return UNDECIDED


def _is_json(text: str) -> bool:
    try:
        strict_json(text.encode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True
