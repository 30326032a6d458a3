"""What the tag formats share: one pass over blocks of reasoning, calls and answer.

A block runs from its tag to its own closing tag, or to the end of the turn where that is missing. Inside a block no
other tag counts: a call inside of reasoning is reasoning about a call, and a tag inside a JSON string is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from rest_verl.core.tool_calls import Kind, Span, Turn


@dataclass(frozen=True)
class Tags:
    """The tags of one format, each pair an opening and a closing one.

    Attributes:
        calls: around a block of calls; the closing one is None where the format has none.
        scan_calls: takes a block's calls and its closing tag: from the text, the position behind the opening tag and
            the turn to add to, to the position where the block has ended (the end of the text where it is unclosed).
        think: around reasoning.
        answer: around the answer; None where the answer is what stands outside of every block.
    """

    calls: tuple[bytes, bytes | None]
    scan_calls: Callable[[bytes, int, Turn], int]
    think: tuple[bytes, bytes] = (b"<think>", b"</think>")
    answer: tuple[bytes, bytes] | None = None

    @cached_property
    def any_tag(self) -> re.Pattern[bytes]:
        """Finds the next tag of any block."""
        tags = [*self.think, *self.calls, *(self.answer or ())]
        return re.compile(b"|".join(re.escape(tag) for tag in tags if tag is not None))

    @cached_property
    def think_tag(self) -> re.Pattern[bytes]:
        """Finds the next tag of reasoning."""
        return re.compile(b"|".join(re.escape(tag) for tag in self.think))


def parse_tagged(text: bytes, tags: Tags) -> Turn:
    """Spans of a turn made of tag blocks.

    Args:
        text: the bytes of one turn.
        tags: the format's tags.
    """
    begin = _end_of_open_think(text, tags)
    if tags.calls[0] in text[:begin]:
        # Where the closing tag lies inside of a whole call it is part of that call's text: no reasoning was open.
        turn = _parse_from(text, 0, tags)
        if any(call.complete and call.whole[0] < begin <= call.whole[1] for call in turn.calls):
            return turn
    return _parse_from(text, begin, tags)


def is_legal_order(order: re.Pattern[bytes], text: bytes, turn: Turn, kind: Kind) -> bool:
    """Whether a turn is legal in a format whose answer is plain text.

    Its markers, put together, are what `order` describes; every call is complete; there are calls where they are due
    and none where they are not; there is an answer where one is due (models may talk before they call, so text beside
    calls is legal where none is due); nothing but white space stands between a block's parts.
    """
    return (
        order.fullmatch(b"".join(text[slice(*span)] for span in turn.markers)) is not None
        and all(call.complete for call in turn.calls)
        and bool(turn.calls) == kind.calls
        and (bool(turn.response) or not kind.answer)
        and not uncovered(text, turn).strip()
    )


def uncovered(text: bytes, turn: Turn) -> bytes:
    """What of a turn no span covers."""
    spans = [*turn.markers, *turn.think, *turn.response, *(call.whole for call in turn.calls)]
    rest, position = [], 0
    for start, end in sorted(spans):
        rest.append(text[position:start])
        position = max(position, end)
    return b"".join([*rest, text[position:]])


def _parse_from(text: bytes, begin: int, tags: Tags) -> Turn:
    """Parse a turn whose first `begin` bytes are reasoning that the prompt opened, closing tag included."""
    turn = Turn()
    outside: list[Span] = []
    if begin > 0:
        end = begin - len(tags.think[1])
        append(turn.think, 0, end)
        turn.markers.append((end, begin))
    position = begin
    while tag := tags.any_tag.search(text, position):
        append(outside, position, tag.start())
        turn.markers.append(tag.span())
        position = tag.end()
        if tag.group() == tags.calls[0]:
            position = tags.scan_calls(text, position, turn)
        elif tag.group() == tags.think[0]:
            position = _take_block(text, position, tags.think[1], turn.think, turn)
        elif tags.answer is not None and tag.group() == tags.answer[0]:
            position = _take_block(text, position, tags.answer[1], turn.response, turn)
        # else a closing tag that closes nothing: it is a marker and no more
    append(outside, position, len(text))
    if tags.answer is None:
        turn.response.extend(span for span in outside if text[slice(*span)].strip())
    return turn


def _end_of_open_think(text: bytes, tags: Tags) -> int:
    """Chat templates of reasoning models end the prompt with the tag that opens reasoning: then the first such tag of
    the turn is its closing one, and what stands before it is reasoning, tags and calls that it talks about included.
    0 where the first one is another."""
    first = tags.think_tag.search(text)
    return first.end() if first is not None and first.group() == tags.think[1] else 0


def _take_block(text: bytes, start: int, closing: bytes, spans: list[Span], turn: Turn) -> int:
    """Take the block's text up to its closing tag; return where to go on."""
    end = text.find(closing, start)
    if end < 0:
        append(spans, start, len(text))
        return len(text)
    append(spans, start, end)
    turn.markers.append((end, end + len(closing)))
    return end + len(closing)


def append(spans: list[Span], start: int, end: int) -> None:
    """Append a span unless it is empty."""
    if end > start:
        spans.append((start, end))
