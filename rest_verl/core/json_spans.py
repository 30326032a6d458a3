"""Byte spans of a JSON object's members, from well-formed, truncated and malformed text alike.

`json` gives values without places. This scanner gives places, in one pass without recursion, and keeps what it found
when the text breaks off.
"""

from __future__ import annotations

import re
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


class ObjectScanner:
    """Scans objects, never past a closing marker that stands outside of a string."""

    def __init__(self, closing_marker: bytes):
        self._marker = closing_marker
        self._tokens = re.compile(re.escape(closing_marker) + rb"|[{}\[\]:,]|" + _STRING)

    def scan(self, text: bytes, start: int) -> ObjectSpan:
        """Scan the object whose `{` stands at text[start]."""
        depth = 0
        members: list[Member] = []
        key: bytes | None = None
        value_start: int | None = None
        for token in self._tokens.finditer(text, start):
            kind = token.group()[:1]
            if token.group() == self._marker:
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
    value = text[value_start:end]
    value_start += len(value) - len(value.lstrip())
    value_end = value_start + len(value.strip())
    if value_end > value_start:
        members.append(Member(key, value_start, value_end))


def inside_quotes(text: bytes, member: Member) -> tuple[int, int] | None:
    """Span of a string value without its quotes; None when the value is no string. An unclosed string runs to its
    end, so that a truncated name is still a name."""
    string = _VALUE.match(text, member.start, member.end)
    return None if string is None else string.span("inside")
