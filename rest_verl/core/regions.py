"""The region of every token: format tag, tool name, tool arguments, reasoning, answer, or none of these.

Tagging works on the bytes of the very ids that were sampled (`token_bytes`). A token that touches a span belongs to
it, so no token is lost between two spans; one that touches several takes the first of NAME, ARGS, FORMAT, RESPONSE,
THINK.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from rest_verl.core.formats import get_format
from rest_verl.core.token_bytes import TokenBytes
from rest_verl.core.tool_calls import Span, Turn


class Region(IntEnum):
    """Regions of a response. The order is the precedence: of two regions in one token the greater wins."""

    OTHER = 0
    THINK = 1
    RESPONSE = 2
    FORMAT = 3
    ARGS = 4
    NAME = 5


class RegionTagger:
    """Tags responses of one tokenizer in one wire format."""

    def __init__(self, tokenizer: Any, format: str):
        """Raises ValueError for an unknown format, TypeError for a tokenizer whose bytes cannot be read exactly."""
        self._parse = get_format(format).parse
        self._table = TokenBytes.from_tokenizer(tokenizer)

    def __call__(self, responses: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
        """Region of every response token.

        Each run of generated tokens is a turn and is tagged by itself: a tag opened in one turn never reaches into
        another, and what a tool wrote is never tagged.

        Args:
            responses: (B, T) int64 token ids as sampled.
            response_mask: (B, T), 1 where the policy generated the token.

        Returns:
            (B, T) int8 of `Region`; OTHER where the mask is 0.
        """
        mask = response_mask.numpy().astype(bool)
        text, starts = self._table.gather(responses.numpy()[mask])
        painted = np.zeros(len(text) + 1, dtype=np.int8)
        raw = text.tobytes()
        for first, last in turn_bounds(mask):
            begin, end = starts[first], starts[last]
            for region, span in region_spans(self._parse(raw[begin:end])):
                painted[begin:end][slice(*span)] = region
        regions = np.zeros(mask.shape, dtype=np.int8)
        # reduceat takes the maximum over each token's bytes; a token without bytes would be given its neighbour's.
        regions[mask] = np.where(np.diff(starts) > 0, np.maximum.reduceat(painted, starts[:-1]), Region.OTHER)
        return torch.from_numpy(regions)


def turn_bounds(mask: np.ndarray) -> list[tuple[int, int]]:
    """Bounds [first, last) of every run of True, row by row, counted in masked tokens.

    Args:
        mask: (B, T) bool.
    """
    begins = mask.copy()
    begins[:, 1:] &= ~mask[:, :-1]
    edges = [*np.flatnonzero(begins[mask]).tolist(), int(mask.sum())]
    return list(pairwise(edges))


def region_spans(turn: Turn) -> Iterator[tuple[Region, Span]]:
    """The spans of a parsed turn with their regions, in order of precedence: of two that overlap the later wins."""
    yield from ((Region.THINK, span) for span in turn.think)
    yield from ((Region.RESPONSE, span) for span in turn.response)
    yield from ((Region.FORMAT, span) for span in turn.markers)
    yield from ((Region.ARGS, call.arguments) for call in turn.calls if call.arguments is not None)
    yield from ((Region.NAME, call.name) for call in turn.calls if call.name is not None)
