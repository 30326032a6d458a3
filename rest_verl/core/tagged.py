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
        return torch.bincount(self._index, minlength=len(Region))[: len(Region)]

    def means(self, values: torch.Tensor) -> dict[Region, float]:
        """Mean of a per-token quantity, (B, T) float such as entropy in nats, over the tokens of each region; regions
        without a token are left out."""
        sums = torch.bincount(self._index, weights=values.flatten().double(), minlength=len(Region))
        return {region: float(sums[region] / self.counts[region]) for region in Region if self.counts[region] > 0}

    def mean_over(self, means: Mapping[Region, float], which: Collection[Region]) -> float | None:
        """Mean over the tokens of several regions together, from the means of each; None without a token."""
        tokens = {region: int(self.counts[region]) for region in which if region in means}
        total = sum(tokens.values())
        return sum(means[region] * count for region, count in tokens.items()) / total if total else None

    @cached_property
    def _index(self) -> torch.Tensor:
        """(B T,) int64: the region of each token, one past the last region where the mask is 0. One pass over this is
        several times as fast as picking the generated tokens out."""
        return self.regions.masked_fill(~self.generated, len(Region)).flatten().long()
