"""A batch whose tokens have regions: counts and means by region."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from rest_verl.core.regions import Region


@dataclass(frozen=True)
class TaggedBatch:
    """Regions of a batch.

    Attributes:
        regions: (B, T) int8 of `Region`.
        response_mask: (B, T), 1 where the policy generated the token; only these count below.
    """

    regions: torch.Tensor
    response_mask: torch.Tensor

    @cached_property
    def generated(self) -> torch.Tensor:
        """The mask as (B, T) bool."""
        return self.response_mask.bool()

    @cached_property
    def counts(self) -> torch.Tensor:
        """Number of tokens of each region: (len(Region),) int64."""
        return sum_by(self._index, None, len(Region) + 1)[: len(Region)].long()

    def means(self, values: torch.Tensor) -> dict[Region, float]:
        """Mean of a per-token quantity, (B, T) float such as entropy in nats, over the tokens of each region; regions
        without a token are left out."""
        sums = sum_by(self._index, values.flatten(), len(Region) + 1)
        return {region: float(sums[region] / self.counts[region]) for region in Region if self.counts[region] > 0}

    def mean_over(self, means: Mapping[Region, float], which: Collection[Region]) -> float | None:
        """Mean over the tokens of several regions together, from the means of each; None without a token."""
        tokens = {region: int(self.counts[region]) for region in which if region in means}
        total = sum(tokens.values())
        return sum(means[region] * count for region, count in tokens.items()) / total if total else None

    @cached_property
    def _index(self) -> torch.Tensor:
        """(B T,) int8: the region of each token, one past the last region where the mask is 0. One pass over this is
        several times as fast as picking the generated tokens out."""
        return self.regions.masked_fill(~self.generated, len(Region)).flatten()


CHUNK = 1 << 17


def sum_by(index: torch.Tensor, values: torch.Tensor | None, bins: int) -> torch.Tensor:
    """Sum values by bin, in double precision; count where there are no values.

    In chunks, whose copies in wider types stay in the cache: fresh memory for millions of tokens costs more than the
    sums.

    Args:
        index: (N,) integers in [0, bins).
        values: (N,) float, or None.
        bins: number of bins.

    Returns:
        (bins,) float64.
    """
    total = torch.zeros(bins, dtype=torch.float64)
    for start in range(0, len(index), CHUNK):
        weights = None if values is None else values[start : start + CHUNK].double()
        total += torch.bincount(index[start : start + CHUNK].long(), weights=weights, minlength=bins)
    return total
