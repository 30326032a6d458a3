"""Byte spans of a JSON object's members, from well-formed, truncated and malformed text alike.

`json` gives values without places. This scanner gives places, in one pass without recursion, and keeps what it found
when the text breaks off.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

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
