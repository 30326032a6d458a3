"""Tool calls written as JSON objects: `{"name": ..., "arguments": {...}}`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from rest_verl.core.tool_calls import CallSpan, Span, ToolCall, Turn
from rest_verl.formats.parse.json_spans import ObjectScanner, ObjectSpan, find, inside_quotes, trimmed


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
