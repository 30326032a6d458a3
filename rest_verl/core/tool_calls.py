"""Where a turn's bytes hold its tool calls, tags, reasoning and answer.

One parse serves all: the tagger paints its spans, the reward reads its calls. Spans are byte offsets [start, end) into
the turn, so nothing is lost between bytes and text, whatever the model wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Span = tuple[int, int]


@dataclass(frozen=True)
class CallSpan:
    """One call as written.

    Attributes:
        whole: the call with everything that belongs to it.
        name: the text of its name without quotes; None where there is none.
        arguments: the whole value of its arguments, braces included; None where there is none.
        complete: whether the call was closed; a truncated call keeps the spans it has.
    """

    whole: Span
    name: Span | None
    arguments: Span | None
    complete: bool


@dataclass
class Turn:
    """What one generated turn holds, as spans in the order of the text."""

    markers: list[Span] = field(default_factory=list)
    think: list[Span] = field(default_factory=list)
    response: list[Span] = field(default_factory=list)
    calls: list[CallSpan] = field(default_factory=list)


@dataclass(frozen=True)
class ToolCall:
    """A call by value: its name and its decoded arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What a turn is meant to hold beside its reasoning."""

    calls: bool
    answer: bool


@dataclass(frozen=True)
class WireFormat:
    """One way in which a policy writes its turns.

    Both functions return for every input, in time linear in its length, and never raise.

    Attributes:
        parse: from the bytes of one turn to its spans.
        is_legal: whether the bytes of one turn, given with its parse, are a legal turn of a kind.
    """

    parse: Callable[[bytes], Turn]
    is_legal: Callable[[bytes, Turn, Kind], bool]


def read_calls(text: bytes, turn: Turn) -> list[ToolCall | None]:
    """Decode each call of a parsed turn; None stands for one that cannot be read.

    A call can be read when it is complete, its bytes are UTF-8, it is strict JSON (no NaN, no infinities), its name is
    a string and its arguments an object. Nothing is evaluated.
    """
    return [_read_call(text, call) for call in turn.calls]


def _read_call(text: bytes, call: CallSpan) -> ToolCall | None:
    if not call.complete or call.name is None or call.arguments is None:
        return None
    try:
        # Decoding the whole call checks its syntax between the spans as well.
        _strict_json(text[slice(*call.whole)])
        name = _strict_json(b'"' + text[slice(*call.name)] + b'"')
        arguments = _strict_json(text[slice(*call.arguments)])
    except (ValueError, RecursionError):
        return None
    if not isinstance(arguments, dict):
        return None
    return ToolCall(name, arguments)


def _strict_json(text: bytes) -> Any:
    # Decoded here: json.loads guesses an encoding for bytes, and zeros in hostile text make it guess UTF-16.
    return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
