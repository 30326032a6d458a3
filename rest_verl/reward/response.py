"""The policy's text of one trajectory, parsed once for everything that scores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rest_verl.core.tool_calls import NO_TOOLS, Kind, ToolCall, ToolSchemas, Turn, WireFormat
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

    @cached_property
    def answered(self) -> bool:
        """Whether there is an answer other than white space."""
        return any(
            text[slice(*span)].strip()
            for text, turn in zip(self.texts, self.turns, strict=True)
            for span in turn.response
        )

    def is_legal(self, kind: Kind) -> bool:
        """Whether the turns are legal: a single turn for the given kind, each of several turns for some kind."""
        if len(self.turns) == 1:
            return self.wire_format.is_legal(self.texts[0], self.turns[0], kind)
        return self.is_legal_for_some_kind()

    def is_legal_for_some_kind(self) -> bool:
        """Whether there is at least one turn and each turn is legal for some kind."""
        return bool(self.turns) and all(
            any(self.wire_format.is_legal(text, turn, kind) for kind in _ANY_KIND)
            for text, turn in zip(self.texts, self.turns, strict=True)
        )

    def has_stray_text(self) -> bool:
        """Whether there is text outside of reasoning, calls and answer."""
        return any(
            uncovered(text, turn).decode("utf-8", "replace").strip()
            for text, turn in zip(self.texts, self.turns, strict=True)
        )


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
