"""Tool calls written as JSON objects: `{"name": ..., "arguments": {...}}`."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rest_verl.core.tool_calls import CallSpan, Span, ToolCall, Turn

# A string ends at its quote, or unclosed at the end of its line: JSON allows no raw line break inside, so a broken
# string can swallow no more than its own line. The parts exclude each other: matching is linear.
_STRING = rb'"(?P<inside>[^"\\\n]*(?:\\[^\n][^"\\\n]*)*)(?P<closing>"?)'

_VALUE = re.compile(_STRING)


@dataclass(frozen=True)
class Member:
    """One key and the span of its value, quotes or braces included."""

    key: bytes
    start: int
    end: int


@dataclass(frozen=True)
class ObjectSpan:
    """An object that starts at `start`: `end` is behind its closing brace, or where the text broke off."""

    start: int
    end: int
    complete: bool
    members: list[Member]

    def last(self, *keys: bytes) -> Member | None:
        """The last member with one of the keys: where a key is repeated, JSON readers keep the last."""
        for member in reversed(self.members):
            if member.key in keys:
                return member
        return None


# A closed object without objects or lists in it, and no `<` or `[` outside of its strings, so without any marker. The
# parts exclude each other: matching is linear.
_FLAT = rb'\{[^{}\[\]"<]*(?:"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"[^{}\[\]"<]*)*\}'
# Nearly every call that a model writes: one pass of the regex engine instead of one step for each token.
_USUAL = re.compile(rb'\{\s*"name"\s*:\s*("[^"\\\n]*")\s*,\s*"(arguments|parameters)"\s*:\s*(' + _FLAT + rb")\s*\}")


class ObjectScanner:
    """Scans objects, never past a closing marker that stands outside of a string."""

    def __init__(self, *closing_markers: bytes):
        self._markers = frozenset(closing_markers)
        self._tokens = re.compile(b"|".join([*map(re.escape, closing_markers), rb"[{}\[\]:,]", _STRING]))

    def scan(self, text: bytes, start: int) -> ObjectSpan:
        """Scan the object whose `{` stands at text[start]."""
        if usual := _USUAL.match(text, start):
            members = [Member(b"name", *usual.span(1)), Member(usual[2], *usual.span(3))]
            return ObjectSpan(start, usual.end(), True, members)
        return self.scan_any(text, start)

    def scan_any(self, text: bytes, start: int) -> ObjectSpan:
        """As `scan`, without the short cut."""
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
        _close(members, key, value_start, text, len(text))
        return ObjectSpan(start, len(text), False, members)


def _close(members: list[Member], key: bytes | None, value_start: int | None, text: bytes, end: int) -> None:
    """Append the member that ends before `end`, without the white space around its value."""
    if key is None or value_start is None:
        return
    span = trimmed(text, value_start, end)
    if span is not None:
        members.append(Member(key, *span))


def trimmed(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The span without white space on either side; None where nothing is left."""
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    length = len(part.strip())
    return (start, start + length) if length else None


def find(pattern: re.Pattern[bytes], text: bytes, start: int) -> tuple[int, int]:
    """Span of the next match; an empty one at the end of the text where there is none."""
    found = pattern.search(text, start)
    return (len(text), len(text)) if found is None else found.span()


def ends_in_string(text: bytes, start: int) -> bool:
    """Whether a string that begins behind `start` is still open where the text ends."""
    strings = deque(_VALUE.finditer(text, start), maxlen=1)
    return bool(strings) and not strings[0]["closing"] and strings[0].end() == len(text)


def inside_quotes(text: bytes, member: Member) -> tuple[int, int] | None:
    """Span of a string value without its quotes; None when the value is no string. An unclosed string runs to its
    end, so that a truncated name is still a name."""
    string = _VALUE.match(text, member.start, member.end)
    return None if string is None else string.span("inside")


def json_calls(closing: bytes) -> Callable[[bytes, int, Turn], int]:
    """Scanner of a block (`Tags.scan_calls`) that takes every JSON object up to the closing tag as a call."""
    scanner = ObjectScanner(closing)
    step = re.compile(rb"\{|" + re.escape(closing))

    def scan(text: bytes, start: int, turn: Turn) -> int:
        position = start
        while found := step.search(text, position):
            if found.group() == closing:
                turn.markers.append(found.span())
                return found.end()
            call = scanner.scan(text, found.start())
            turn.calls.append(call_of(text, call))
            position = call.end
        return len(text)

    return scan


def json_arguments(*markers: bytes) -> Callable[[bytes, int], tuple[Span | None, bool]]:
    """Scanner of a JSON object of arguments that stands by itself, behind a name, and ends before any of the markers.

    It takes the text and the position from which on the arguments are to stand, and returns their span and whether
    they are a closed object. What begins otherwise than an object counts as arguments up to the next marker; where
    there is nothing but white space before it the span is None.
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


def call_of(text: bytes, found: ObjectSpan) -> CallSpan:
    """The call that an object is: its name, and its `parameters` or `arguments`."""
    name = found.last(b"name")
    arguments = found.last(b"parameters", b"arguments")
    return CallSpan(
        whole=(found.start, found.end),
        name=inside_quotes(text, name) if name else None,
        arguments=(arguments.start, arguments.end) if arguments else None,
        complete=found.complete,
    )


def read_json_call(text: bytes, call: CallSpan) -> ToolCall | None:
    """Read a call that is one JSON object (`WireFormat.read`).

    It can be read when its bytes are UTF-8, it is strict JSON (no NaN, no infinities), its name is a string and its
    arguments an object. Nothing is evaluated.
    """
    if call.name is None or call.arguments is None:
        return None
    try:
        # Decoding the whole call checks its syntax between the spans as well.
        strict_json(text[slice(*call.whole)])
        name = strict_json(b'"' + text[slice(*call.name)] + b'"')
        arguments = strict_json(text[slice(*call.arguments)])
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments) if isinstance(arguments, dict) else None


def read_named_call(text: bytes, call: CallSpan) -> ToolCall | None:
    """Read a call whose name stands as plain text beside a JSON object of arguments (`WireFormat.read`)."""
    if call.name is None or call.arguments is None:
        return None
    try:
        name = text[slice(*call.name)].decode("utf-8")
        arguments = strict_json(text[slice(*call.arguments)])
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments) if isinstance(arguments, dict) else None


# Levels of lists and objects in one another, as many as Python's parser takes of brackets. `json` takes as many as the
# stack has room for: whoever compared, copied or wrote such a value from deeper in the stack would fail.
DEEPEST = 200


def strict_json(text: bytes) -> Any:
    """Value of JSON text; ValueError for what JSON does not allow, RecursionError for more levels than DEEPEST."""
    # Decoded here: json.loads guesses an encoding for bytes, and zeros in hostile text make it guess UTF-16.
    value = _DECODER.decode(text.decode("utf-8"))
    if text.count(b"[") + text.count(b"{") > DEEPEST and _is_deeper(value, DEEPEST):
        raise RecursionError(f"JSON of more than {DEEPEST} levels")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more levels of lists and objects; found without recursion."""
    level = [value]
    for _ in range(levels + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


# One for all calls: json.loads makes one each time that it is given a rule for constants.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
