"""Markup of calls where no call is: text that begins like a call of its format is a malformed call, never an answer.

Markup is what a format writes for its calls alone: their tags, opening and closing, outer and inner. Text begins like
it where a tag stands without its last bracket (`<tool_call` for `<tool_call>`), with white space in it or not, and
where the text breaks off inside of a tag. So a turn that is cut within its first call is no answer, wherever the cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rest_verl.core.tool_calls import Turn
from rest_verl.formats.parse.tags import uncovered

# A call as a JSON object, in formats that write it so between their tags: a model that forgot the tags meant to call.
JSON_CALL = rb'\{\s*"name"\s*:\s*"[^"\n]*"\s*,\s*"(?:arguments|parameters)"\s*:'

_BRACKETS = b"<>[]|/=:"


@dataclass(frozen=True)
class CallMarkup:
    """The markup of a format's calls.

    Attributes:
        whole: finds it in text.
        cut: finds its beginning at the end of a text.
        in_markers: matches a marker (`Turn.markers`) that only calls have.
    """

    whole: re.Pattern[bytes]
    cut: re.Pattern[bytes]
    in_markers: re.Pattern[bytes]

    def is_in_answer(self, text: bytes, turn: Turn) -> bool:
        """Whether the answer of a turn holds markup, or breaks off in it."""
        end = len(text.rstrip())
        return any(
            self.whole.search(text, *span) or (span[1] >= end and self.cut.search(text, *span))
            for span in turn.response
        )

    def is_malformed_call(self, text: bytes, turn: Turn) -> bool:
        """Whether a turn without any call holds markup, outside of its reasoning (`WireFormat.is_malformed_call`)."""
        if turn.calls:
            return False
        rest = uncovered(text, turn)
        return (
            self.is_in_answer(text, turn)
            or any(self.in_markers.match(text, *span) for span in turn.markers)
            or (self.whole.search(rest) or self.cut.search(rest)) is not None
        )


def call_markup(*tags: bytes, others: tuple[bytes, ...] = (), in_markers: bytes | None = None) -> CallMarkup:
    """The markup of a format.

    Args:
        tags: how the tags of its calls begin, each without its last bracket.
        others: patterns of what else only calls have.
        in_markers: pattern of the markers that only calls have, if it is not one of the tags that begins them.
    """
    spelled = [_spelled(tag) for tag in tags]
    whole = b"|".join([*(b"".join(pieces) for pieces in spelled), *others])
    cut = b"|".join(_beginnings(pieces) for pieces in spelled)
    of_markers = b"|".join(b"".join(pieces) for pieces in spelled) if in_markers is None else in_markers
    return CallMarkup(re.compile(whole), re.compile(b"(?:" + cut + rb")\s*\Z"), re.compile(of_markers))


def _spelled(tag: bytes) -> list[bytes]:
    """Patterns of the bytes of a tag: white space may stand around its brackets."""
    pieces = [re.escape(tag[index : index + 1]) for index in range(len(tag))]
    return [
        (rb"\s*" if index and (tag[index] in _BRACKETS or tag[index - 1] in _BRACKETS) else b"") + piece
        for index, piece in enumerate(pieces)
    ]


def _beginnings(pieces: list[bytes]) -> bytes:
    """Pattern of the first byte of a tag, and as many more as follow."""
    pattern = b""
    for piece in reversed(pieces):
        pattern = piece + (b"(?:" + pattern + b")?" if pattern else b"")
    return pattern
