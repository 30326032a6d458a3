"""The signal of each region: how far the gradient of its tokens stands out from the noise of the batch.

Let u_ir be the sum over the tokens of region r in trajectory i of (log pi(a_t) + H_t): how much less surprising the
trajectory was there than the policy expects. Its mean over what is sampled is 0, token by token, whatever the policy
is. Times the advantage it is one component of the policy gradient, that along the region's temperature, and

    t_r = sum_i A_i u_ir / sqrt(sum_i (A_i u_ir)^2)

is that component in units of its own standard error. Without a signal t_r^2 has mean 1, so q_r = max(E t_r^2 - 1, 0)
is the ratio of signal to noise, and q_r / (q_r + 1) is the gain of the Wiener filter that an optimal weight would be.
With advantages that differ within a trajectory, A_i u_ir is the sum of A_t (log pi(a_t) + H_t).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rest_verl.core.entropy import average, region_of
from rest_verl.core.regions import Region, TaggedBatch, numbered, sum_by


@dataclass
class StepSums:
    """Sums over the trajectories of one step, by region.

    Attributes:
        trajectories: number of those with a token in the region.
        squares: sum of u^2, in nats^2.
        products: sum of A u.
        product_squares: sum of (A u)^2.
    """

    trajectories: Int64[Tensor, " region"] = field(default_factory=lambda: torch.zeros(len(Region), dtype=torch.int64))
    squares: Float64[Tensor, " region"] = field(default_factory=lambda: torch.zeros(len(Region), dtype=torch.float64))
    products: Float64[Tensor, " region"] = field(default_factory=lambda: torch.zeros(len(Region), dtype=torch.float64))
    product_squares: Float64[Tensor, " region"] = field(
        default_factory=lambda: torch.zeros(len(Region), dtype=torch.float64)
    )

    def add(
        self,
        batch: TaggedBatch,
        trajectories: Sequence[Hashable],
        log_prob: Float[Tensor, "batch token"],
        entropy: Float[Tensor, "batch token"],
        advantages: Float[Tensor, "batch token"],
    ) -> None:
        """Take in a batch; tokens for which one of the quantities is not finite are left out.

        Args:
            trajectories: the trajectory of each row.
            log_prob: of the sampled tokens, in nats.
            entropy: in nats.
            advantages: without weights.
        """
        surplus = log_prob.double() + entropy
        product = surplus * advantages
        kept = batch.generated & product.isfinite() & surplus.isfinite()
        rows = numbered(trajectories)
        index = (rows[:, None] * len(Region) + batch.regions.long())[kept]
        count = len(set(trajectories))
        shape, bins = (count, len(Region)), count * len(Region)
        counts = sum_by(index, None, bins).reshape(shape)
        u = sum_by(index, surplus[kept], bins).reshape(shape)
        au = sum_by(index, product[kept], bins).reshape(shape)
        self.trajectories += (counts > 0).sum(dim=0)
        self.squares += u.square().sum(dim=0)
        self.products += au.sum(dim=0)
        self.product_squares += au.square().sum(dim=0)

    def measured(self, min_trajectories: int, min_squares: float) -> dict[Region, float]:
        """t^2 of the regions that have enough trajectories and a large enough sum of u^2, and any A u but 0."""
        enough = (self.trajectories >= min_trajectories) & (self.squares >= min_squares) & (self.product_squares > 0)
        t_squared = self.products.square() / self.product_squares
        return {region: float(t_squared[region]) for region in Region if enough[region]}


@dataclass
class SignalAverages:
    """Exponential moving averages over steps of t^2 of each region.

    `before` holds those over the steps before the present one: what is known before the batch is sampled. The batches
    of one step count together, once. A region that a step does not measure keeps its average.

    Attributes:
        decay: share of the old average in the new one; 0 takes the last step as it is.
        min_trajectories: trajectories of a step that a region needs to be measured.
        min_squares: sum of u^2 over a step that a region needs to be measured, in nats^2.
        before: average t^2 of each region measured before this step.
        present: sums of the present step, which take in its batches.
    """

    decay: float
    min_trajectories: int
    min_squares: float
    before: dict[Region, float] = field(default_factory=dict)
    present: StepSums = field(default_factory=StepSums, repr=False)
    _step: int | None = field(default=None, repr=False)

    def begin(self, step: int) -> None:
        """Begin a step, if it has not begun: from now on `before` includes the last one."""
        if step != self._step:
            self.before, self._step, self.present = self.latest(), step, StepSums()

    def latest(self) -> dict[Region, float]:
        """The averages with what the present step has shown so far."""
        found = self.present.measured(self.min_trajectories, self.min_squares)
        return self.before | {
            region: now if region not in self.before else self.decay * self.before[region] + (1 - self.decay) * now
            for region, now in found.items()
        }

    def state(self) -> dict[str, float]:
        """The averages after the present step as JSON values, for a checkpoint."""
        return {region.name: value for region, value in self.latest().items()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue from what `state` gave; ValueError if it holds what is no average or no region, and nothing was
        changed."""
        self.before = {region_of(name): average(f"signal of {name}", value) for name, value in state.items()}
        self._step, self.present = None, StepSums()
