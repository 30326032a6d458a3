"""Entropy of the policy, and what it says about the variance of the gradient.

For logits z and a token a drawn from p = softmax(z),

    E ||d log p(a) / dz||^2 = 1 - sum_a p(a)^2 =: V        (d log p(a) / dz = onehot(a) - p)
    V <= 1 - exp(-H)                                       (Jensen: sum p^2 = E exp(log p) >= exp(E log p) = exp(-H))

so tokens of low entropy H carry gradients of low variance. V needs the sum of squared probabilities, which verl's
actor reports on request; its entropy is always there and bounds V.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rest_verl.core.regions import Region, RegionSums, TaggedBatch

STRUCTURE = (Region.FORMAT, Region.NAME)  # what the model has to get right before anything else counts


def variance_bound(entropy: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Upper bound of V, in [0, 1), from the entropy in nats: 1 - exp(-H); NaN where the entropy is not finite."""
    bound = entropy.neg().clamp_max_(0.0).expm1_().neg_()  # fused kernels give entropies of -1e-7
    return bound if bool(entropy.sum().isfinite()) else bound.where(entropy.isfinite(), torch.nan)


def variance_exact(sum_pi_squared: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """V, in [0, 1), from the sum of squared probabilities: 1 - sum_a p(a)^2; NaN where the sum is not finite."""
    return (1.0 - sum_pi_squared).clamp(0.0, 1.0).where(sum_pi_squared.isfinite(), torch.nan)


def token_variance(
    entropy: Float[Tensor, "*any"], sum_pi_squared: Float[Tensor, "*any"] | None
) -> Float[Tensor, "*any"]:
    """V of each token: exact where the sum of squared probabilities is there and finite, else bounded by the entropy;
    NaN where neither is finite."""
    variance = variance_bound(entropy)
    if sum_pi_squared is None:
        return variance
    exact = variance_exact(sum_pi_squared)
    return exact.where(exact.isfinite(), variance)


def filled(
    variance: Float[Tensor, "batch token"], batch: TaggedBatch, averages: Mapping[Region, float]
) -> Float[Tensor, "batch token"]:
    """V of every token: as measured, and the average of its region where it is not finite or the token is masked.

    Args:
        variance: V of each token, possibly NaN.
        averages: V of every region.
    """
    known = batch.generated & variance.isfinite()
    if bool(known.all()):
        return variance
    by_region = variance.new_tensor([averages[region] for region in Region])
    return variance.where(known, by_region[batch.regions.int()])


def finite(
    values: Float[Tensor, "batch token"], batch: TaggedBatch, averages: Mapping[Region, float] | None = None
) -> Float[Tensor, "batch token"]:
    """A quantity of every token, and the average of its region where it is not finite.

    Args:
        values: of each token, possibly NaN or infinite.
        averages: of every region; default: the batch's own, that of all regions together where one has none, and 0
            where no trained token has a finite value.
    """
    known = values.isfinite()
    if bool(known.all()):
        return values
    if averages is None:
        means = batch.means(values)
        typical = batch.mean_over(means, tuple(Region))
        averages = {region: means.get(region, typical or 0.0) for region in Region}
    return values.where(known, values.new_tensor([averages[region] for region in Region])[batch.regions.int()])


@dataclass
class RegionAverages:
    """Exponential moving averages over steps of what is measured by region.

    The batches of one step count together, once. Values that are not finite do not count. A region's average begins at
    its first measurement, and keeps its value over steps without one.

    Attributes:
        decay: share of the old average in the new one; 0 takes each step as it is.
        entropy: mean entropy of each region so far measured, nats.
        variance: mean V of each region.
        structure: mean entropy over all tokens of `STRUCTURE`, nats; None before the first.
        structure_first: what `structure` was after the first step that measured it.
    """

    decay: float
    entropy: dict[Region, float] = field(default_factory=dict)
    variance: dict[Region, float] = field(default_factory=dict)
    structure: float | None = None
    structure_first: float | None = None
    _step: int | None = field(default=None, repr=False, compare=False)
    _before: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # averages before `_step`
    _entropy: RegionSums = field(default_factory=RegionSums, repr=False, compare=False)  # of `_step`
    _variance: RegionSums = field(default_factory=RegionSums, repr=False, compare=False)

    def update(self, step: int, entropy: RegionSums, variance: RegionSums) -> None:
        """Take in a batch of a step: entropy in nats and V, summed over the tokens of each region."""
        if step != self._step:
            self._step, self._entropy, self._variance = step, RegionSums(), RegionSums()
            self._before = {
                "entropy": dict(self.entropy),
                "variance": dict(self.variance),
                "structure": self.structure,
                "structure_first": self.structure_first,
            }
        before = self._before
        self._entropy += entropy
        self._variance += variance
        for averages, new, old in (
            (self.entropy, self._entropy, before["entropy"]),
            (self.variance, self._variance, before["variance"]),
        ):
            averages.update({region: self._mix(old.get(region), mean) for region, mean in new.means().items()})
        structure = self._entropy.mean_over(*STRUCTURE)
        if structure is not None:
            self.structure = self._mix(before["structure"], structure)
            first = before["structure_first"]
            self.structure_first = self.structure if first is None else first

    def _mix(self, old: float | None, new: float) -> float:
        return new if old is None else self.decay * old + (1.0 - self.decay) * new

    def variance_of_all(self, batch: TaggedBatch) -> dict[Region, float]:
        """V of every region. One that was never measured has the mean over the batch's tokens of the others; 0 if
        nothing was ever measured."""
        return _of_all(self.variance, batch)

    def entropy_of_all(self, batch: TaggedBatch) -> dict[Region, float]:
        """Entropy of every region in nats; as `variance_of_all` for one that was never measured."""
        return _of_all(self.entropy, batch)

    def state(self) -> dict[str, object]:
        """The averages as JSON values, for a checkpoint."""
        return {
            "entropy": {region.name: value for region, value in self.entropy.items()},
            "variance": {region.name: value for region, value in self.variance.items()},
            "structure": self.structure,
            "structure_first": self.structure_first,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` gave.

        Raises:
            ValueError: an average is not a finite number of at least 0, or a region is unknown; nothing was changed.
            KeyError: one of the averages is missing.
        """
        by_region = {
            name: {region_of(region): average(f"{name} of {region}", value) for region, value in state[name].items()}
            for name in ("entropy", "variance")
        }
        structure = [
            None if state[name] is None else average(name, state[name]) for name in ("structure", "structure_first")
        ]
        self.entropy, self.variance = by_region["entropy"], by_region["variance"]
        self.structure, self.structure_first = structure
        self._step = None


def _of_all(averages: Mapping[Region, float], batch: TaggedBatch) -> dict[Region, float]:
    typical = batch.mean_over(averages, tuple(Region))
    if typical is None:
        typical = sum(averages.values()) / len(averages) if averages else 0.0
    return {region: averages.get(region, typical) for region in Region}


def region_of(name: str) -> Region:
    try:
        return Region[name]
    except KeyError:
        raise ValueError(f"there is no region {name!r}; there are {', '.join(Region.__members__)}") from None


def average(name: str, value: object) -> float:
    """A value of a saved state, checked: ValueError unless it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise ValueError(f"the average {name} is {value!r}: expected a finite number of at least 0")
    return float(value)
