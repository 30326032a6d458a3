"""The parser of the tag formats: one pass over blocks of reasoning, calls and answer.

A block runs from its opening tag to its own closing tag, or to the end of the turn if that is missing. Other tags
inside a block do not count: a call inside of reasoning is reasoning about a call, and a tag in a JSON string is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from rest_verl.core.tool_calls import Kind, Span, Turn

_ANY_ORDER = re.compile(b".*", re.DOTALL)


@dataclass(frozen=True)
class Tags:
    """The tags of one format, each pair an opening and a closing one.

    Attributes:
        calls: tags around a block of calls; the closing one is None if the format has none.
        scan_calls: function that takes a block's calls and its closing tag: from the text, the position after the
            opening tag and the turn to extend, to the position where the block ends (the end of the text if it is
            unclosed).
        think: tags around reasoning.
        answer: tags around the answer; None if the answer is the text outside of all blocks.
        stops: tokens that end a turn but are not the tokenizer's end-of-sequence token, and so are part of the turn's
            text: at the very end of a turn they are markers.
        in_value: whether the text of a value is open at the end of a text, from the text and the position where an
            unclosed call begins: a tag in it is text. The value is a string in quotes or, in formats without quotes,
            what an opening tag of a parameter opens. None if no call holds text: then the first reasoning tag, if it
            is a closing one, ends the reasoning anywhere.
    """

    calls: tuple[bytes, bytes | None]
    scan_calls: Callable[[bytes, int, Turn], int]
    think: tuple[bytes, bytes] = (b"<think>", b"</think>")
    answer: tuple[bytes, bytes] | None = None
    stops: tuple[bytes, ...] = ()
    in_value: Callable[[bytes, int], bool] | None = None

    @property
    def markup(self) -> tuple[bytes, ...]:
        """All tags of the blocks (`WireFormat.markup`)."""
        return tuple(tag for tag in (*self.think, *self.calls, *(self.answer or ())) if tag is not None)

    @cached_property
    def any_tag(self) -> re.Pattern[bytes]:
        """Finds the next tag of any block."""
        return re.compile(b"|".join(map(re.escape, self.markup)))

    @cached_property
    def think_tag(self) -> re.Pattern[bytes]:
        """Finds the next tag of reasoning."""
        return re.compile(b"|".join(re.escape(tag) for tag in self.think))


def parse_tagged(text: bytes, tags: Tags) -> Turn:
    """Spans of a turn made of tag blocks.

    Args:
        text: bytes of one turn.
        tags: tags of the format.
    """
    for stop in tags.stops:
        if text.endswith(stop):
            end = len(text) - len(stop)
            turn = _parse_blocks(text[:end], tags)
            turn.markers.append((end, len(text)))
            return turn
    return _parse_blocks(text, tags)


def is_legal_order(order: re.Pattern[bytes], text: bytes, turn: Turn, kind: Kind) -> bool:
    """Whether a turn is legal in a format whose answer is plain text.

    Its concatenated markers match `order`; every call is complete; there are calls if and only if they are due; there
    is an answer if one is due (models may talk before they call, so text next to calls is legal otherwise); and there
    is only white space between the parts of a block.
    """
    return (
        order.fullmatch(b"".join(text[slice(*span)] for span in turn.markers)) is not None
        and all(call.complete for call in turn.calls)
        and bool(turn.calls) == kind.calls
        and (bool(turn.response) or not kind.answer)
        and not uncovered(text, turn).strip()
    )


def is_legal_outline(outline: re.Pattern[bytes], text: bytes, turn: Turn, kind: Kind) -> bool:
    """`is_legal_order` for formats whose markers alone do not show where calls belong: `outline` describes the markers
    with `{}` in place of each call."""
    pieces = [(start, text[start:end]) for start, end in turn.markers]
    pieces += [(call.whole[0], b"{}") for call in turn.calls]
    order = b"".join(piece for _, piece in sorted(pieces))
    return outline.fullmatch(order) is not None and is_legal_order(_ANY_ORDER, text, turn, kind)


def uncovered(text: bytes, turn: Turn) -> bytes:
    """The text of a turn that no span covers."""
    spans = [*turn.markers, *turn.think, *turn.response, *(call.whole for call in turn.calls)]
    rest, position = [], 0
    for start, end in sorted(spans):
        rest.append(text[position:start])
        position = max(position, end)
    return b"".join([*rest, text[position:]])


def _parse_blocks(text: bytes, tags: Tags) -> Turn:
    """Parse a turn without its stop token."""
    begin = _end_of_open_think(text, tags)
    if begin > 0 and tags.in_value is not None:
        # In a value of a call the tag is text, and no reasoning was open. The text after the tag does not matter: it
        # may not be written yet.
        before = text[: begin - len(tags.think[1])]
        calls = _parse_from(before, 0, tags).calls if tags.calls[0] in before else []
        # Scanners leave white space at its end out of an unclosed call, but in an open value it is text.
        if calls and calls[-1].whole[1] >= len(before.rstrip()) and tags.in_value(before, calls[-1].whole[0]):
            return _parse_from(text, 0, tags)
    return _parse_from(text, begin, tags)


def _parse_from(text: bytes, begin: int, tags: Tags) -> Turn:
    """Parse a turn whose first `begin` bytes are reasoning that the prompt opened, including its closing tag."""
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
        # else a closing tag without an open block: only a marker
    append(outside, position, len(text))
    if tags.answer is None:
        for span in outside:
            take_answer(text, *span, turn)
    return turn


def _end_of_open_think(text: bytes, tags: Tags) -> int:
    """End of reasoning that the prompt opened, including its closing tag; 0 if the prompt opened none.

    Chat templates of reasoning models may end the prompt with the opening tag: then the turn's first reasoning tag is
    the closing one, and all text before it is reasoning, even tags and calls."""
    first = tags.think_tag.search(text)
    return first.end() if first is not None and first.group() == tags.think[1] else 0


def _take_block(text: bytes, start: int, closing: bytes, spans: list[Span], turn: Turn) -> int:
    """Take the block's text up to its closing tag; return the position after it."""
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


def take_answer(text: bytes, start: int, end: int, turn: Turn) -> None:
    """Take text as answer unless it is white space."""
    if text[start:end].strip():
        turn.response.append((start, end))
