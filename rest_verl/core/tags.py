"""What the tag formats share: one pass over `<think>`, `<tool_call>` and `<response>`, and the JSON calls inside.

A block runs from its tag to its own closing tag, or to the end of the turn where that is missing. Inside a block no
other tag counts: a call inside `<think>` is reasoning about a call, and a tag inside a JSON string is text.
"""

from __future__ import annotations

import re

from rest_verl.core.json_spans import ObjectScanner, inside_quotes
from rest_verl.core.tool_calls import CallSpan, Span, Turn

_THINK_TAG = re.compile(rb"</?think>")
_THINK_CLOSE = b"</think>"
_CALL_CLOSE = b"</tool_call>"
_SCANNER = ObjectScanner(_CALL_CLOSE)
_BLOCK_STEP = re.compile(rb"\{|" + re.escape(_CALL_CLOSE))


def parse_tagged(text: bytes, blocks: tuple[bytes, ...]) -> tuple[Turn, list[Span]]:
    """Parse a turn made of tag blocks.

    Args:
        text: the bytes of one turn.
        blocks: names of the block tags besides `think`, such as (b"tool_call", b"response").

    Returns:
        the turn, and the spans of the text that lies outside of every block, in order.
    """
    opening = re.compile(rb"</?(think|" + rb"|".join(blocks) + rb")>")
    begin = _end_of_open_think(text)
    if b"<tool_call>" in text[:begin]:
        # Where the closing tag lies inside of a whole call it is part of that call's text: no reasoning was open.
        turn, outside = _parse_from(text, 0, opening)
        if any(call.complete and call.whole[0] < begin <= call.whole[1] for call in turn.calls):
            return turn, outside
    return _parse_from(text, begin, opening)


def _parse_from(text: bytes, begin: int, opening: re.Pattern[bytes]) -> tuple[Turn, list[Span]]:
    """Parse a turn whose first `begin` bytes are reasoning that the prompt opened, closing tag included."""
    turn = Turn()
    outside: list[Span] = []
    if begin > 0:
        end = begin - len(_THINK_CLOSE)
        _append(turn.think, 0, end)
        turn.markers.append((end, begin))
    position = begin
    while tag := opening.search(text, position):
        _append(outside, position, tag.start())
        turn.markers.append(tag.span())
        position = tag.end()
        if text[tag.start() + 1 : tag.start() + 2] == b"/":
            continue  # a closing tag that closes nothing is a marker and no more
        if tag.group(1) == b"tool_call":
            position = _scan_calls(text, position, turn)
        else:
            spans = turn.think if tag.group(1) == b"think" else turn.response
            position = _take_block(text, position, b"</" + tag.group(1) + b">", spans, turn)
    _append(outside, position, len(text))
    return turn, outside


def _end_of_open_think(text: bytes) -> int:
    """Chat templates of reasoning models end the prompt with `<think>`: then the first think tag of the turn is its
    closing one, and what stands before it is reasoning, tags and calls that it talks about included. 0 where the first
    think tag is another."""
    first = _THINK_TAG.search(text)
    return first.end() if first is not None and first.group() == _THINK_CLOSE else 0


def _take_block(text: bytes, start: int, closing: bytes, spans: list[Span], turn: Turn) -> int:
    """Take the block's text up to its closing tag; return where to go on."""
    end = text.find(closing, start)
    if end < 0:
        _append(spans, start, len(text))
        return len(text)
    _append(spans, start, end)
    turn.markers.append((end, end + len(closing)))
    return end + len(closing)


def _scan_calls(text: bytes, start: int, turn: Turn) -> int:
    """Take every JSON object up to the closing tag as a call; return where to go on."""
    position = start
    while step := _BLOCK_STEP.search(text, position):
        if step.group() == _CALL_CLOSE:
            turn.markers.append(step.span())
            return step.end()
        found = _SCANNER.scan(text, step.start())
        name = found.last(b"name")
        arguments = found.last(b"parameters", b"arguments")
        turn.calls.append(
            CallSpan(
                whole=(found.start, found.end),
                name=inside_quotes(text, name) if name else None,
                arguments=(arguments.start, arguments.end) if arguments else None,
                complete=found.complete,
            )
        )
        position = found.end
    return len(text)


def _append(spans: list[Span], start: int, end: int) -> None:
    if end > start:
        spans.append((start, end))
