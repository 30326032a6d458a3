"""Where a turn's bytes hold its tool calls, tags, reasoning and answer.

One parse serves all: the tagger paints its spans, the reward reads its calls. Spans are byte offsets [start, end) into
the turn, so nothing is lost between bytes and text, whatever the model wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Span = tuple[int, int]

# The tools that a turn may call: from a tool's name to the JSON schema of its parameters, as
# {"type": "object", "properties": {...}, "required": [...]}.
ToolSchemas = Mapping[str, Mapping[str, Any]]
NO_TOOLS: ToolSchemas = {}  # nothing is known about the tools


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


class _Undecided:
    """The type of `UNDECIDED`, which equals nothing else."""

    def __repr__(self) -> str:
        return "UNDECIDED"


# Stands for the value of an argument whose name is written and whose value is not, or not to its end.
UNDECIDED: Any = _Undecided()


@dataclass(frozen=True)
class OpenCall:
    """What is decided of a call that is still being written: whatever follows, it stays.

    Attributes:
        name: its name; None while that may go on.
        arguments: those whose names are decided; `UNDECIDED` where the value may go on.
        broken: whether it is known that the call cannot be read, however it goes on.
    """

    name: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    broken: bool = False


BROKEN = OpenCall(broken=True)


@dataclass(frozen=True)
class Kind:
    """What a turn is meant to hold beside its reasoning."""

    calls: bool
    answer: bool


def _never(text: bytes, turn: Turn) -> bool:
    return False


def _nothing_decided(text: bytes, call: CallSpan, tools: ToolSchemas) -> OpenCall:
    return OpenCall()


@dataclass(frozen=True)
class WireFormat:
    """One way in which a policy writes its turns.

    The functions return for every input, in time linear in its length, and never raise. None of them evaluates text.

    Attributes:
        parse: from the bytes of one turn to its spans.
        is_legal: whether the bytes of one turn, given with its parse, are a legal turn of a kind.
        read: from the bytes of one turn, one of its complete calls and the tools of the row to the call by value;
            None where it cannot be read. Tools decide what the text leaves open: the type of a value, the name meant
            by an id. Where they are not known (`NO_TOOLS`), the text alone decides.
        markup: the tags of the format, which may be special tokens of a model. Any other special token at the very end
            of a turn ends it and is no text (`core.stops`). None: only the model's stop tokens end a turn.
        is_malformed_call: whether the bytes of one turn, given with its parse, hold no call but text that begins like
            one. In all formats of this package that text is a malformed call: such a turn is never an answer, neither
            legal nor exact (`formats.parse.markup` says what begins like a call). Default: never.
        read_open: from the bytes of a turn so far, the incomplete call at their end and the tools of the row to what
            is decided of the call, for `rest.credit=span`. Default: nothing before the call is complete.
    """

    parse: Callable[[bytes], Turn]
    is_legal: Callable[[bytes, Turn, Kind], bool]
    read: Callable[[bytes, CallSpan, ToolSchemas], ToolCall | None]
    markup: tuple[bytes, ...] | None = None
    is_malformed_call: Callable[[bytes, Turn], bool] = _never
    read_open: Callable[[bytes, CallSpan, ToolSchemas], OpenCall] = _nothing_decided

    def read_calls(self, text: bytes, turn: Turn, tools: ToolSchemas = NO_TOOLS) -> list[ToolCall | None]:
        """Decode each call of a parsed turn; None stands for one that is incomplete or cannot be read."""
        return [self.read(text, call, tools) if call.complete else None for call in turn.calls]
