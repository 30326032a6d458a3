"""Which tokens belong to a call that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8, Int64

from rest_verl.core.regions import RegionTagger, paint_tokens
from rest_verl.core.tool_calls import Span, Turn, WireFormat


class MalformedTagger(RegionTagger):
    """Marks tokens of malformed calls with 1, as `RegionTagger` marks tokens with their region; all others are 0.

    The text alone decides: what only the tools of a row could tell is not malformed.
    """

    def __init__(self, tokenizer: Any, wire_format: WireFormat, model: str | Path | None = None):
        super().__init__(tokenizer, wire_format, model)
        self._format = wire_format

    def _label(
        self, raw: bytes, starts: Int64[np.ndarray, " edge"], edges: Int64[np.ndarray, " turn_edge"]
    ) -> Int8[np.ndarray, " edge-1"]:
        spans: list[Span] = []
        for begin, end in pairwise(starts[edges].tolist()):
            text = raw[begin:end]
            found = malformed_spans(text, self._parse(text), self._format)
            spans += [(begin + start, begin + stop) for start, stop in found if start < stop]
        begins, ends = [span[0] for span in spans], [span[1] for span in spans]
        return paint_tokens(starts, [1] * len(spans), begins, ends)


def malformed_spans(text: bytes, turn: Turn, wire_format: WireFormat) -> Iterator[Span]:
    """The bytes of a turn that are malformed calls: each call that cannot be read with all that belongs to it, or, in
    a turn without a call that begins like one, everything after its reasoning.

    Args:
        text: bytes of the turn.
        turn: its parse.
        wire_format: the format that gave the parse.
    """
    for span, call in zip(turn.calls, wire_format.read_calls(text, turn), strict=True):
        if call is None:
            yield span.whole
    if wire_format.is_malformed_call(text, turn):
        end_of_reasoning = max((end for _, end in turn.think), default=0)
        yield dict(turn.markers).get(end_of_reasoning, end_of_reasoning) if turn.think else 0, len(text)
