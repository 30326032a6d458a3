"""The state in which each token was sampled: what the text before it says about where it is.

A weight leaves the objective of training as it is only where it is known before the token is drawn: if the choices of
one branch have different weights, their advantages no longer cancel, and a choice that never matters drifts to the
side of greater weight. The region of a token depends on the token itself, and on what follows. Its state does not: it
depends on the prefix alone, so that all the choices of a branch have one state.

- In a reasoning or an answer that has begun: THINK, RESPONSE. Up to the end of the closing tag, and of the white space
  before it, for each of these bytes could have been more text. The end of sequence after an answer is such a choice.
- In a name or in arguments: NAME, ARGS. From the first byte, which what stands before it announces, to the byte after
  the last, which could have been one more.
- Everywhere else FORMAT: which block comes next, the JSON between name and arguments, how a text begins, and the end
  of sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Int8, Int64

from rest_verl.core.regions import Region, RegionTagger
from rest_verl.core.tool_calls import Span, Turn

WeightsFrom = Literal["state", "token"]

OUTSIDE = Region.FORMAT  # the state outside of all spans
_SPACE = b" \t\r\n"


class StateTagger(RegionTagger):
    """Tags each token with the state in which it was sampled, as `RegionTagger` does with the region that it touches.
    Tokens where the mask is 0 are OTHER, and no others."""

    def _label(
        self, raw: bytes, starts: Int64[np.ndarray, " edge"], edges: Int64[np.ndarray, " turn_edge"]
    ) -> Int8[np.ndarray, " edge-1"]:
        states = np.full(len(starts) - 1, OUTSIDE, dtype=np.int8)
        for first, last in pairwise(edges.tolist()):
            text = raw[starts[first] : starts[last]]
            begins = starts[first:last] - starts[first]
            of_turn = states[first:last]
            for state, span in state_spans(text, self._parse(text)):
                begin, end = np.searchsorted(begins, span)
                of_turn[begin:end] = state
        return states


TAGGERS: Mapping[WeightsFrom, type[RegionTagger]] = {"state": StateTagger, "token": RegionTagger}


def state_spans(text: bytes, turn: Turn) -> Iterator[tuple[Region, Span]]:
    """Where the tokens of a state begin, in order of precedence: of two that overlap the later wins. `OUTSIDE` is not
    among them.

    Args:
        text: bytes of the turn.
        turn: its parse.

    Yields:
        state, and the first and one past the last byte at which a token of that state begins.
    """
    markers = dict(turn.markers)
    for state, spans in ((Region.THINK, turn.think), (Region.RESPONSE, turn.response)):
        for begin, end in spans:
            first, after = begin, end
            while first < end and text[first] in _SPACE:
                first += 1
            while after < len(text) and text[after] in _SPACE:
                after += 1
            yield state, (first + 1, markers.get(after, after + 1))
    for state, spans in (
        (Region.ARGS, [call.arguments for call in turn.calls if call.arguments is not None]),
        (Region.NAME, [call.name for call in turn.calls if call.name is not None]),
    ):
        for begin, end in spans:
            yield state, (begin, markers.get(end, end + 1))
