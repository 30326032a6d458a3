"""The region of every token: format tag, tool name, tool arguments, reasoning, answer, or none of these.

Tagging works on the bytes of the very ids that were sampled (`tokens`). A token that touches a span belongs to
it, so no token is lost between two spans; one that touches several takes the first of NAME, ARGS, FORMAT, RESPONSE,
THINK.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int8, Int64, Integer, Shaped
from torch import Tensor

from rest_verl.core.stops import at_ends, end_ids, stop_ids
from rest_verl.core.tokens import TokenBytes
from rest_verl.core.tool_calls import Span, Turn, WireFormat

# 1 where the policy generated the token; verl writes such masks in any dtype.
Mask = Bool[Tensor, "batch token"] | Integer[Tensor, "batch token"] | Float[Tensor, "batch token"]


class Region(IntEnum):
    """Regions of a response. The order is the precedence: of two regions in one token the greater wins."""

    OTHER = 0
    THINK = 1
    RESPONSE = 2
    FORMAT = 3
    ARGS = 4
    NAME = 5

    @property
    def label(self) -> str:
        """Its name in settings, logs and records."""
        return self.name.lower()


class RegionTagger:
    """Tags responses of one tokenizer in one wire format."""

    def __init__(self, tokenizer: Any, wire_format: WireFormat, model: str | Path | None = None):
        """
        Args:
            tokenizer: a Hugging Face tokenizer.
            wire_format: how the policy writes.
            model: folder or hub name of the model (`stop_ids`).

        Raises:
            TypeError: the bytes of the tokenizer's tokens cannot be read exactly.
            ValueError: the model's generation_config.json cannot be read.
        """
        self._parse = wire_format.parse
        self._table = TokenBytes.from_tokenizer(tokenizer)
        self._ends = end_ids(tokenizer, wire_format, stop_ids(tokenizer, model))

    def __call__(self, responses: Integer[Tensor, "batch token"], response_mask: Mask) -> Int8[Tensor, "batch token"]:
        """Region of every response token.

        Each run of generated tokens is a turn and is tagged by itself: a tag opened in one turn never reaches into
        another, and what a tool wrote is never tagged.

        Args:
            responses: token ids as sampled.
            response_mask: 1 where the policy generated the token.

        Returns:
            the `Region` of each token; OTHER where the mask is 0.
        """
        rows, tokens = responses.shape
        lengths = torch.full((rows,), tokens)
        return self.tag(responses.flatten(), response_mask.flatten().bool(), lengths).reshape(rows, tokens)

    def tag(
        self,
        ids: Integer[Tensor, " token"],
        generated: Bool[Tensor, " token"],
        lengths: Integer[Tensor, " batch"],
    ) -> Int8[Tensor, " token"]:
        """The same for responses that lie one after the other, without padding.

        Args:
            ids: token ids as sampled.
            generated: whether the policy generated the token.
            lengths: number of tokens of each response.
        """
        mask = generated.numpy()
        sampled, edges = ids.numpy()[mask], turn_edges(mask, np.cumsum(lengths.numpy()) - lengths.numpy())
        text, starts = self._table.gather(np.where(at_ends(sampled, edges, self._ends), -1, sampled))
        regions = np.zeros(mask.shape, dtype=np.int8)
        regions[mask] = self._label(text.tobytes(), starts, edges)
        return torch.from_numpy(regions)

    def _label(
        self, raw: bytes, starts: Int64[np.ndarray, " edge"], edges: Int64[np.ndarray, " turn_edge"]
    ) -> Int8[np.ndarray, " edge-1"]:
        """Label of every generated token.

        Args:
            raw: bytes of all turns.
            starts: ascending; token k owns the bytes [starts[k], starts[k + 1]).
            edges: turn k has the tokens [edges[k], edges[k + 1]).
        """
        # Three lists of numbers and not one of tuples: tens of thousands of those would set off the garbage collector,
        # which takes longer over all that a trainer process holds than the parse does.
        labels: list[int] = []
        begins: list[int] = []
        ends: list[int] = []
        for begin, end in pairwise(starts[edges].tolist()):
            for region, (start, stop) in region_spans(self._parse(raw[begin:end])):
                if start < stop:
                    labels.append(int(region))
                    begins.append(begin + start)
                    ends.append(begin + stop)
        return paint_tokens(starts, labels, begins, ends)


def paint_tokens(
    starts: Int64[np.ndarray, " edge"], labels: Sequence[int], begins: Sequence[int], ends: Sequence[int]
) -> Int8[np.ndarray, " edge-1"]:
    """Give every token that a span touches the span's region; of several spans the later one wins.

    Args:
        starts: ascending; token k owns the bytes [starts[k], starts[k + 1]).
        labels: the `Region` of each span.
        begins, ends: the bytes [begin, end) of each span; none of them is empty.

    Returns:
        the `Region` of each token; OTHER for tokens without bytes.
    """
    regions = np.zeros(len(starts) - 1, dtype=np.int8)
    first = np.searchsorted(starts, np.asarray(begins, dtype=np.int64), side="right") - 1
    behind = np.searchsorted(starts, np.asarray(ends, dtype=np.int64), side="left")
    for label, token, stop in zip(labels, first.tolist(), behind.tolist(), strict=True):
        regions[token:stop] = label
    regions[starts[1:] == starts[:-1]] = Region.OTHER
    return regions


def turn_edges(mask: Bool[np.ndarray, " token"], starts: Int64[np.ndarray, " batch"]) -> Int64[np.ndarray, " edge"]:
    """Where the runs of True begin, counted in masked tokens, and the number of masked tokens at the end: one edge
    more than there are runs.

    Args:
        mask: of the tokens of all responses.
        starts: first token of each response, where a run begins again.
    """
    begins, first = mask.copy(), starts[starts < len(mask)]
    begins[1:] &= ~mask[:-1]
    begins[first] = mask[first]
    return np.append(np.flatnonzero(begins[mask]), mask.sum())


def region_spans(turn: Turn) -> Iterator[tuple[Region, Span]]:
    """The spans of a parsed turn with their regions, in order of precedence: of two that overlap the later wins."""
    yield from ((Region.THINK, span) for span in turn.think)
    yield from ((Region.RESPONSE, span) for span in turn.response)
    yield from ((Region.FORMAT, span) for span in turn.markers)
    yield from ((Region.ARGS, call.arguments) for call in turn.calls if call.arguments is not None)
    yield from ((Region.NAME, call.name) for call in turn.calls if call.name is not None)


@dataclass(frozen=True)
class RegionSums:
    """Sums of a quantity over the tokens of each region, those without a finite value left out.

    Attributes:
        sums: of the values, in the order of `Region`.
        tokens: how many there are.
    """

    sums: Float64[Tensor, " region"] = field(default_factory=lambda: torch.zeros(len(Region), dtype=torch.float64))
    tokens: Float64[Tensor, " region"] = field(default_factory=lambda: torch.zeros(len(Region), dtype=torch.float64))

    def __add__(self, other: RegionSums) -> RegionSums:
        return RegionSums(self.sums + other.sums, self.tokens + other.tokens)

    def means(self) -> dict[Region, float]:
        """Mean over each region's tokens; regions without one are left out."""
        return {region: float(self.sums[region] / self.tokens[region]) for region in Region if self.tokens[region] > 0}

    def mean_over(self, *regions: Region) -> float | None:
        """Mean over the tokens of some regions together; None without one."""
        which = [int(region) for region in regions]
        tokens = float(self.tokens[which].sum())
        return float(self.sums[which].sum()) / tokens if tokens else None


@dataclass(frozen=True)
class TaggedBatch:
    """Regions of a batch. A place is a token, or a run of tokens that have one region (`runs`): what is said of tokens
    below counts each place as many times as it has trained tokens.

    Attributes:
        regions: the `Region` of each place.
        response_mask: how many tokens of the place are trained: 1 where the policy generated the token, 0 elsewhere;
            more for a run.
    """

    regions: Int8[Tensor, "batch token"]
    response_mask: Mask

    @cached_property
    def generated(self) -> Bool[Tensor, "batch token"]:
        """The mask as truth values."""
        return self.response_mask.bool()

    @cached_property
    def counts(self) -> Int64[Tensor, " region"]:
        """Number of tokens of each `Region`, in its order."""
        return sum_by(self._index, self.response_mask.flatten(), len(Region)).long()

    def sums(self, values: Float[Tensor, "batch token"]) -> RegionSums:
        """Sums of a per-token quantity over each region; of a run, `values` has the mean over its tokens."""
        finite = values.isfinite()
        if not bool(finite.all()):
            mask = self.response_mask.masked_fill(~finite, 0)
            return TaggedBatch(self.regions, mask).sums(values.where(finite, 0.0))
        sums = sum_by(self._index, (values * self.response_mask).flatten(), len(Region))
        return RegionSums(sums, self.counts.double())

    def means(self, values: Float[Tensor, "batch token"]) -> dict[Region, float]:
        """Mean of a per-token quantity, such as entropy in nats, over the tokens of each region. Values that are not
        finite do not count; regions without a finite one are left out."""
        return self.sums(values).means()

    def mean_over(self, means: Mapping[Region, float], which: Collection[Region]) -> float | None:
        """Mean over the tokens of several regions together, from the means of each; None without a token."""
        tokens = {region: int(self.counts[region]) for region in which if region in means}
        total = sum(tokens.values())
        return sum(means[region] * count for region, count in tokens.items()) / total if total else None

    @property
    def _index(self) -> Int8[Tensor, " token"]:
        return self.regions.flatten()


CHUNK = 1 << 17


def numbered(names: Sequence[Hashable]) -> Int64[Tensor, " name"]:
    """A number for each name, from 0 in order of first appearance; equal names have equal numbers."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names], dtype=torch.int64)


def sum_by(
    index: Integer[Tensor, " value"], values: Shaped[Tensor, " value"] | None, bins: int
) -> Float64[Tensor, " {bins}"]:
    """Sum values by bin, in double precision; count where there are no values.

    In chunks, whose copies in wider types stay in the cache: fresh memory for millions of tokens costs more than the
    sums.

    Args:
        index: bin of each value, in [0, bins).
        values: what to sum; None to count.
        bins: number of bins.
    """
    total = torch.zeros(bins, dtype=torch.float64)
    for start in range(0, len(index), CHUNK):
        weights = None if values is None else values[start : start + CHUNK].double()
        total += torch.bincount(index[start : start + CHUNK].long(), weights=weights, minlength=bins)
    return total
