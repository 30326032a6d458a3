"""The policy's text of one trajectory, parsed once for everything that scores it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, Kind, ToolCall, ToolSchemas, Turn, WireFormat
from rest_verl.formats.parse.tags import uncovered

_ANY_KIND = (Kind(calls=True, answer=False), Kind(calls=False, answer=True), Kind(calls=True, answer=True))


@dataclass(frozen=True)
class Response:
    """The turns that the policy generated.

    Attributes:
        texts: bytes of each turn.
        turns: spans of each turn.
        wire_format: wire format of the policy.
        calls: calls of all turns in order; None for a call that cannot be read, and for text that begins like a call
            in a turn without any (`WireFormat.is_malformed_call`).
    """

    texts: Sequence[bytes]
    turns: Sequence[Turn]
    wire_format: WireFormat
    calls: Sequence[ToolCall | None]

    @property
    def parse_ok(self) -> bool:
        """Whether every call can be read."""
        return None not in self.calls

    @cached_property
    def readable(self) -> list[ToolCall]:
        """The calls; empty if any of them cannot be read."""
        return [call for call in self.calls if call is not None] if self.parse_ok else []

    @property
    def written(self) -> Sequence[Any]:
        """The calls as ToolRL's data write them, JSON objects with `name` and `parameters`; empty if any cannot be
        read."""
        return [{"name": call.name, "parameters": call.arguments} for call in self.readable]

    @property
    def answered(self) -> bool:
        """Whether there is an answer other than white space."""
        return any(self._answers)

    def each_turn_calls_or_answers(self) -> bool:
        """Whether each turn holds a call or an answer other than white space."""
        return all(bool(turn.calls) or answers for turn, answers in zip(self.turns, self._answers, strict=True))

    def is_legal(self, kind: Kind) -> bool:
        """Whether the turns are legal: a single turn for the given kind, each of several turns for some kind."""
        return self._turn_is_legal(0, kind) if len(self.turns) == 1 else self.is_legal_for_some_kind()

    def is_legal_for_some_kind(self) -> bool:
        """Whether there is at least one turn and each turn is legal for some kind."""
        numbers = range(len(self.turns))
        return bool(self.turns) and all(
            any(self._turn_is_legal(number, kind) for kind in _ANY_KIND) for number in numbers
        )

    def _turn_is_legal(self, number: int, kind: Kind) -> bool:
        return self.wire_format.is_legal(self.texts[number], self.turns[number], kind)

    @cached_property
    def _answers(self) -> list[bool]:
        """For each turn, whether it has an answer other than white space."""
        return [
            any(text[slice(*span)].strip() for span in turn.response)
            for text, turn in zip(self.texts, self.turns, strict=True)
        ]

    def reasoning_words(self) -> int:
        """Number of words of reasoning; unclosed reasoning counts 0."""
        words = 0
        for text, turn in zip(self.texts, self.turns, strict=True):
            closings = {start for start, _ in turn.markers}
            closed = [text[start:end] for start, end in turn.think if end in closings]
            words += sum(len(reasoning.decode("utf-8", "replace").split()) for reasoning in closed)
        return words

    def has_stray_text(self) -> bool:
        """Whether there is text outside of reasoning, calls and answer."""
        return any(
            uncovered(text, turn).decode("utf-8", "replace").strip()
            for text, turn in zip(self.texts, self.turns, strict=True)
        )


# What may stand after the last call while it is not complete: white space, and a tag that is not written to its end.
_BEGUN_TAG = re.compile(rb"\s*(?:[<\[][^>\]]*)?\Z")


def read_open(
    before: Response,
    text: bytes,
    tools: ToolSchemas = NO_TOOLS,
    known: dict[CallSpan, ToolCall | None] | None = None,
) -> Response:
    """The response with a turn more that may go on: of a call that is still being written it has what is decided
    (`WireFormat.read_open`), with `UNDECIDED` for values that are not, and no call before its name is.

    Args:
        before: the turns before it.
        text: bytes of the turn so far.
        tools: tools that the policy was offered.
        known: complete calls that were read in a shorter text of this turn; those of this one are added.
    """
    wire_format, known = before.wire_format, {} if known is None else known
    turn, calls = wire_format.parse(text), list(before.calls)
    for call in turn.calls:
        if call.complete:
            if call not in known:
                known[call] = wire_format.read(text, call, tools)
            calls.append(known[call])
        elif call is not turn.calls[-1] or not _BEGUN_TAG.match(text, call.whole[1]):
            calls.append(None)
        else:
            written = wire_format.read_open(text, call, tools)
            if written.broken:
                calls.append(None)
            elif written.name is not None:
                calls.append(ToolCall(written.name, written.arguments))
    return Response([*before.texts, text], [*before.turns, turn], wire_format, calls)


def read_response(texts: Sequence[bytes], wire_format: WireFormat, tools: ToolSchemas = NO_TOOLS) -> Response:
    """Parse the turns of a response.

    Args:
        texts: bytes of each turn that the policy generated, without tool output.
        wire_format: wire format of the policy.
        tools: tools that the policy was offered.
    """
    turns = [wire_format.parse(text) for text in texts]
    calls: list[ToolCall | None] = []
    for text, turn in zip(texts, turns, strict=True):
        calls += wire_format.read_calls(text, turn, tools)
        calls += [None] * wire_format.is_malformed_call(text, turn)
    return Response(texts, turns, wire_format, calls)
