"""Tool calls written as JSON objects: `{"name": ..., "arguments": {...}}`.

The key of the arguments is `arguments` or `parameters`, whichever the chat template of a format writes: servers run no
call that has the other one. Keys are compared decoded (`"\\u006eame"` is `name`), and of repeated keys the last one
counts, so spans and values are those of a JSON parser.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, Span, ToolCall, ToolSchemas, Turn

# A string ends at its quote or, unclosed, at the end of its line: JSON allows no raw line break in strings, so a
# broken string spans its own line at most. The parts exclude each other: matching is linear.
_STRING = rb'"(?P<inside>[^"\\\n]*(?:\\[^\n][^"\\\n]*)*)(?P<closing>"?)'

_VALUE = re.compile(_STRING)


@dataclass(frozen=True)
class Member:
    """One key as written, and the span of its value, including quotes or braces."""

    key: bytes
    start: int
    end: int


@dataclass(frozen=True)
class ObjectSpan:
    """An object: `end` is the position after its closing brace or, if it is incomplete, where it breaks off; `key` is
    the last one as written if its colon is there and its value is not."""

    start: int
    end: int
    complete: bool
    members: list[Member]
    key: bytes | None = None

    def last(self, *keys: bytes) -> Member | None:
        """The last member with one of the keys, however it is spelled: JSON readers keep the last of repeated keys."""
        for member in reversed(self.members):
            if _decoded(member.key) in keys:
                return member
        return None


# A closed object without nested objects or lists, and without `<` or `[` outside of its strings, so without any
# marker. The parts exclude each other: matching is linear.
_FLAT = rb'\{[^{}\[\]"<]*(?:"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"[^{}\[\]"<]*)*\}'
# Matches nearly all calls of a model: one pass of the regex engine instead of one step per token.
_USUAL = re.compile(rb'\{\s*"name"\s*:\s*("[^"\\\n]*")\s*,\s*"(arguments|parameters)"\s*:\s*(' + _FLAT + rb")\s*\}")


class ObjectScanner:
    """Scans objects, never past a closing marker outside of a string."""

    def __init__(self, *closing_markers: bytes):
        self._markers = frozenset(closing_markers)
        self._tokens = re.compile(b"|".join([*map(re.escape, closing_markers), rb"[{}\[\]:,]", _STRING]))

    def scan(self, text: bytes, start: int) -> ObjectSpan:
        """Scan the object whose `{` is at text[start]."""
        if usual := _USUAL.match(text, start):
            members = [Member(b"name", *usual.span(1)), Member(usual[2], *usual.span(3))]
            return ObjectSpan(start, usual.end(), True, members)
        return self.scan_any(text, start)

    def scan_any(self, text: bytes, start: int) -> ObjectSpan:
        """Like `scan`, without the short cut for usual calls."""
        depth = 0
        members: list[Member] = []
        key: bytes | None = None
        value_start: int | None = None
        for token in self._tokens.finditer(text, start):
            kind = token.group()[:1]
            if token.group() in self._markers:
                _close(members, key, value_start, text, token.start())
                return ObjectSpan(start, token.start(), False, members)
            if kind in b"{[":
                depth += 1
            elif kind in b"}]":
                depth -= 1
                if depth == 0:
                    _close(members, key, value_start, text, token.start())
                    return ObjectSpan(start, token.end(), True, members)
            elif kind == b'"':
                if depth == 1 and value_start is None:
                    key = token["inside"] if token["closing"] else None
            elif depth == 1 and kind == b":":
                if key is not None and value_start is None:
                    value_start = token.end()
            elif depth == 1 and kind == b",":
                _close(members, key, value_start, text, token.start())
                key = value_start = None
        written = len(members)
        _close(members, key, value_start, text, len(text))
        pending = key if value_start is not None and len(members) == written else None
        return ObjectSpan(start, len(text), False, members, pending)


def _decoded(key: bytes) -> bytes:
    """A key without its escapes; as written if they are no JSON."""
    if b"\\" not in key:
        return key
    with suppress(ValueError):
        return strict_json(b'"' + key + b'"').encode("utf-8", "surrogatepass")
    return key


def _close(members: list[Member], key: bytes | None, value_start: int | None, text: bytes, end: int) -> None:
    """Append the member that ends before `end`, without the white space around its value."""
    if key is None or value_start is None:
        return
    span = trimmed(text, value_start, end)
    if span is not None:
        members.append(Member(key, *span))


def trimmed(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The span without white space at its ends; None if nothing is left."""
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    length = len(part.strip())
    return (start, start + length) if length else None


def find(pattern: re.Pattern[bytes], text: bytes, start: int) -> tuple[int, int]:
    """Span of the next match; an empty span at the end of the text if there is none."""
    found = pattern.search(text, start)
    return (len(text), len(text)) if found is None else found.span()


def ends_in_string(text: bytes, start: int) -> bool:
    """Whether a string that begins after `start` is still open at the end of the text."""
    strings = deque(_VALUE.finditer(text, start), maxlen=1)
    return bool(strings) and not strings[0]["closing"] and strings[0].end() == len(text)


def inside_quotes(text: bytes, member: Member) -> tuple[int, int] | None:
    """Span of a string value without its quotes; None if the value is not a string. An unclosed string runs to its
    end, so a truncated name is still a name."""
    string = _VALUE.match(text, member.start, member.end)
    return None if string is None else string.span("inside")


def json_calls(closing: bytes, arguments_key: bytes = b"arguments") -> Callable[[bytes, int, Turn], int]:
    """Scanner of a block (`Tags.scan_calls`) that takes every JSON object up to the closing tag as a call, whose
    arguments have the given key."""
    scanner = ObjectScanner(closing)
    step = re.compile(rb"\{|" + re.escape(closing))

    def scan(text: bytes, start: int, turn: Turn) -> int:
        position = start
        while found := step.search(text, position):
            if found.group() == closing:
                turn.markers.append(found.span())
                return found.end()
            call = scanner.scan(text, found.start())
            turn.calls.append(call_of(text, call, arguments_key))
            position = call.end
        return len(text)

    return scan


def json_arguments(*markers: bytes) -> Callable[[bytes, int], tuple[Span | None, bool]]:
    """Scanner of a bare JSON object of arguments, after a name, that ends before any of the markers.

    It takes the text and the position where the arguments begin, and returns their span and whether they are a closed
    object. Text that does not begin with an object counts as arguments up to the next marker; the span is None if
    there is only white space.
    """
    scanner = ObjectScanner(*markers)
    marker = re.compile(b"|".join(map(re.escape, markers)))
    begin = re.compile(rb"\s*\{")

    def scan(text: bytes, start: int) -> tuple[Span | None, bool]:
        if opened := begin.match(text, start):
            found = scanner.scan(text, opened.end() - 1)
            return trimmed(text, found.start, found.end), found.complete
        return trimmed(text, start, find(marker, text, start)[0]), False

    return scan


def call_of(text: bytes, found: ObjectSpan, arguments_key: bytes) -> CallSpan:
    """The call in an object: its name, and the arguments under their key, `arguments` or `parameters`."""
    name = found.last(b"name")
    arguments = found.last(arguments_key)
    return CallSpan(
        whole=(found.start, found.end),
        name=inside_quotes(text, name) if name else None,
        arguments=(arguments.start, arguments.end) if arguments else None,
        complete=found.complete,
    )


def read_json_call(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a call that is one JSON object (`WireFormat.read`).

    A call can be read if it is UTF-8 and strict JSON (`strict_json`), its name is a string and its arguments are an
    object. Nothing is evaluated. JSON has types, so the tools decide nothing.
    """
    if call.name is None or call.arguments is None:
        return None
    try:
        # Decoding the whole call also checks the syntax between the spans.
        strict_json(text[slice(*call.whole)])
        name = strict_json(b'"' + text[slice(*call.name)] + b'"')
        arguments = strict_json(text[slice(*call.arguments)])
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments) if isinstance(arguments, dict) else None


def read_named_call(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a call with its name as plain text before a JSON object of arguments (`WireFormat.read`)."""
    if call.name is None or call.arguments is None:
        return None
    try:
        name = text[slice(*call.name)].decode("utf-8")
        arguments = strict_json(text[slice(*call.arguments)])
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments) if isinstance(arguments, dict) else None


# Levels of nested lists and objects: as many as Python's parser accepts brackets. `json` accepts as many as the stack
# holds, but code deeper in the stack would fail to compare, copy or write such a value.
MAX_DEPTH = 200


class BeyondRange(ValueError):
    """A number that no double holds: a JSON writer could give it as an infinity only, which is no JSON."""


def strict_json(text: bytes) -> Any:
    """Value of JSON text.

    Raises:
        ValueError: it is not JSON; NaN and infinities are not.
        BeyondRange: it is JSON but for a number, an integer too, that is larger than the largest double.
        RecursionError: it has more than MAX_DEPTH levels.
    """
    # Decoded here: json.loads guesses an encoding for bytes, and zeros in hostile text make it guess UTF-16.
    written = text.decode("utf-8")
    try:
        value = _DECODER.decode(written)
    except BeyondRange:
        _ANY_NUMBERS.decode(written)  # ValueError if the number only begins a text, as in `12e34567-e89b`
        raise
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise RecursionError(f"JSON of more than {MAX_DEPTH} levels")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more than `levels` levels of lists and objects; without recursion."""
    level = [value]
    for _ in range(levels + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BeyondRange(f"{digits:.40} is beyond the range of a double")
    return number


def _integer(digits: str) -> int:
    # The largest double has 309 digits. Python itself refuses integers of more than 4,300 only.
    if len(digits) > 300:
        _number(digits)
    return int(digits)


# Shared by all calls: json.loads makes a new decoder for each call with parse_constant.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_number, parse_int=_integer)
_ANY_NUMBERS = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=str, parse_int=str)
