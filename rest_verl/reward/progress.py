"""What a response earned while it was written: the parts of its score for `rest.credit=span`.

Let Phi(text) be what the text so far has earned: the format reward once the text was legal, and the share of the
correctness reward of its calls, those still being written included as far as they are decided. The share is that of
the rules in force (`reward.strict`, `reward.toolrl`) for these calls: of the best pairing so far.
The part of a byte is what Phi gains there. It depends on the text up to that byte alone, because nothing else was
read: each text so far is parsed by itself. The last Phi is the score's own share if the response is legal, and what
differs, such as a block that is never closed, is decided at the end.

Bytes are looked at where something can be decided: at brackets and line breaks, within and after calls at any other
byte that ends a name, a key or a value too. A part of 0 is a part: a wrong value is a decision like a right one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rest_verl.core.tool_calls import CallSpan, ToolCall, ToolSchemas, Turn, WireFormat
from rest_verl.reward.response import Response
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import GroundTruth

_OUTSIDE = re.compile(rb"[<>{}\[\](\n]")
_INSIDE = re.compile(rb"[<>{}\[\]()\n\"',:;=]")
# Every look reads the turn so far again and judges all turns before it. Looks end when this many bytes were read, so
# that hostile text takes no more than linear time; what is decided later stays with the end.
_MOST_BYTES = 2**23
_BYTES_OF_LOOK = 2**14  # what a look counts for at least: there are no more than 512
_BYTES_OF_TURN = 2**10  # what it counts for besides, for each turn before


class Part(NamedTuple):
    """What was decided at one place.

    Attributes:
        turn: number of the turn, from 0.
        byte: the byte of the turn that decided it; the length of the turn's text for what its end decided.
        amount: in units of the reward.
        ends_reasoning: whether reasoning was closed here.
    """

    turn: int
    byte: int
    amount: float
    ends_reasoning: bool = False


def parts_of(
    reward: ToolReward,
    texts: Sequence[bytes],
    wire_format: WireFormat,
    tools: ToolSchemas,
    truth: GroundTruth,
    step: int,
) -> list[Part]:
    """The parts of a response's score that are decided before its end, in order; none where no call is due.

    Args:
        reward: the reward of the run.
        texts: bytes of each turn that the policy generated.
        wire_format: wire format of the policy.
        tools: tools of the row.
        truth: ground truth of the row.
        step: global step.
    """
    if not truth.kind.calls:
        return []
    format_range, correctness_range = reward.format_range(step), reward.correctness_range(step)
    parts: list[Part] = []
    decided, earned = _Decided([], parse_ok=True, legal=False), 0.0
    for turn, byte, response in _looks(reward, texts, wire_format, tools):
        legal = decided.legal or reward.is_legal(response, truth)
        now = _Decided(response.written, response.parse_ok, legal)
        ends_reasoning = byte < len(texts[turn]) and _ends_reasoning(response.turns[-1], byte + 1)
        if now != decided or ends_reasoning:
            phi = correctness_range * reward.share(response, truth) + format_range * legal
            parts.append(Part(turn, byte, phi - earned, ends_reasoning))
            decided, earned = now, phi
    return parts


def _cost(length: int, turns_before: int) -> int:
    """What reading so many bytes after so many turns counts for."""
    return max(length, _BYTES_OF_LOOK) + turns_before * _BYTES_OF_TURN


class _Decided(NamedTuple):
    """What Phi depends on: while it stays, nothing is decided.

    Attributes:
        calls: those written so far.
        parse_ok: whether all of them can be read.
        legal: whether any text so far was legal.
    """

    calls: Sequence[Any]
    parse_ok: bool
    legal: bool


def _looks(
    reward: ToolReward, texts: Sequence[bytes], wire_format: WireFormat, tools: ToolSchemas
) -> Iterator[tuple[int, int, Response]]:
    """Where something can be decided, as turn and byte, and the response so far, that byte included."""
    before, left = reward.read([], wire_format, tools), _MOST_BYTES
    for number, text in enumerate(texts):
        known: dict[CallSpan, ToolCall | None] = {}
        found = _OUTSIDE.search(text)
        while found is not None:
            left -= _cost(found.end(), number)
            if left < 0:
                return
            response = reward.read_open(before, text[: found.end()], tools, known)
            yield number, found.start(), response
            found = (_INSIDE if response.turns[-1].calls else _OUTSIDE).search(text, found.end())
        if number < len(texts) - 1:  # what ends another turn than the last
            left -= _cost(sum(map(len, texts[: number + 1])), number)
            if left < 0:
                return
            before = reward.read(texts[: number + 1], wire_format, tools)
            yield number, len(text), before


def _ends_reasoning(turn: Turn, length: int) -> bool:
    """Whether a text of this length ends with the closing tag of reasoning."""
    return bool(turn.think) and (turn.think[-1][1], length) in turn.markers
