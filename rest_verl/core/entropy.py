"""Entropy of the policy, and what it says about the variance of the gradient.

For logits z and a token a drawn from p = softmax(z),

    E ||d log p(a) / dz||^2 = 1 - sum_a p(a)^2 =: V        (d log p(a) / dz = onehot(a) - p)
    V <= 1 - exp(-H)                                       (Jensen: sum p^2 = E exp(log p) >= exp(E log p) = exp(-H))

so tokens of low entropy H carry gradients of low variance. V needs the sum of squared probabilities, which verl's
actor reports on request; its entropy is always there and bounds V.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from rest_verl.core.regions import Region, TaggedBatch

STRUCTURE = (Region.FORMAT, Region.NAME)  # what the model has to get right before anything else counts


def variance_bound(entropy: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Upper bound of V, in [0, 1), from the entropy in nats: 1 - exp(-H)."""
    return -torch.expm1(-entropy.clamp_min(0.0))  # fused kernels give entropies of -1e-7


def variance_exact(sum_pi_squared: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """V, in [0, 1), from the sum of squared probabilities: 1 - sum_a p(a)^2."""
    return (1.0 - sum_pi_squared).clamp_min(0.0)


@dataclass
class RegionAverages:
    """Exponential moving averages over steps of what is measured by region.

    A region's average begins at its first measurement, and keeps its value over batches without a token of it.

    Attributes:
        decay: share of the old average in the new one; 0 takes each batch as it is.
        entropy: mean entropy of each region so far measured, nats.
        variance: mean V of each region.
        structure: mean entropy over all tokens of `STRUCTURE`, nats; None before the first.
        structure_first: what `structure` was when it was measured first.
    """

    decay: float
    entropy: dict[Region, float] = field(default_factory=dict)
    variance: dict[Region, float] = field(default_factory=dict)
    structure: float | None = None
    structure_first: float | None = None

    def update(
        self, batch: TaggedBatch, entropy: Float[Tensor, "batch token"], variance: Float[Tensor, "batch token"]
    ) -> None:
        """Take in a batch: entropy in nats and V of each token."""
        means = batch.means(entropy)
        self._blend(self.entropy, means)
        self._blend(self.variance, batch.means(variance))
        structure = batch.mean_over(means, STRUCTURE)
        if structure is not None:
            self.structure = self._mix(self.structure, structure)
            if self.structure_first is None:
                self.structure_first = self.structure

    def _blend(self, averages: dict[Region, float], new: Mapping[Region, float]) -> None:
        averages.update({region: self._mix(averages.get(region), value) for region, value in new.items()})

    def _mix(self, old: float | None, new: float) -> float:
        return new if old is None else self.decay * old + (1.0 - self.decay) * new

    def state(self) -> dict[str, object]:
        """The averages as JSON values, for a checkpoint."""
        return {
            "entropy": {region.name: value for region, value in self.entropy.items()},
            "variance": {region.name: value for region, value in self.variance.items()},
            "structure": self.structure,
            "structure_first": self.structure_first,
        }

    def restore(self, state: Mapping) -> None:
        """Go on from what `state` gave."""
        self.entropy = {Region[name]: value for name, value in state["entropy"].items()}
        self.variance = {Region[name]: value for name, value in state["variance"].items()}
        self.structure, self.structure_first = state["structure"], state["structure_first"]
