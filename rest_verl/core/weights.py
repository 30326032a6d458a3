"""From regions, variances and progress to one weight per token, and its normalisation.

The policy gradient of token t is multiplied by w_t >= 0. Weights are 0 where the mask is 0.

Everything here holds for runs as it does for tokens: where the weights are those of runs, the mask has the number of
trained tokens of each (`runs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Float32, Int8, Integer
from torch import Tensor

from rest_verl.core.curriculum import Schedule
from rest_verl.core.regions import Mask, Region, sum_by


def scheduled_weights(schedules: Mapping[Region, Schedule], step: int) -> dict[Region, float]:
    """Weight of every region at a step, as the paper's released run sets them; a negative one counts as 0."""
    return {region: max(schedule(step), 0.0) for region, schedule in schedules.items()}


def structural_weights(
    variance: Float[Tensor, "*any"],
    tokens: Bool[Tensor, "*any"] | Integer[Tensor, "*any"],
    alpha: float,
    eps: float,
) -> Float[Tensor, "*any"]:
    """s = (V + eps)^(-alpha), scaled to mean 1 over the batch's generated tokens.

    With independent noise of variance V, alpha = 1 minimises the variance of the weighted gradient at a fixed total
    weight; alpha = 0 weights all alike; alpha < 0 prefers tokens of high entropy.

    Args:
        variance: V, in [0, 1), of each token or of each region.
        tokens: how many generated tokens each value stands for: the mask, or the counts of the regions.
        alpha: exponent.
        eps: what keeps the weight of a token without variance finite, > 0.

    Returns:
        weights; they mean nothing where `tokens` is 0.
    """
    raw = (variance + eps) ** -alpha
    return raw * (tokens.sum() / (raw * tokens).sum().clamp_min(torch.finfo(raw.dtype).tiny))


def blend(structural: Float[Tensor, "*any"], targets: Float[Tensor, "*any"], lam: float) -> Float[Tensor, "*any"]:
    """w = s^(1 - lam) g^lam: from the structural weights s at lam = 0 to the reasoning targets g at lam = 1.

    Args:
        structural: s >= 0.
        targets: g >= 0.
        lam: in [0, 1].
    """
    return structural ** (1.0 - lam) * targets**lam


def per_region(regions: Int8[Tensor, "batch token"], values: Mapping[Region, float]) -> Float32[Tensor, "batch token"]:
    """Value of every token's `Region`; 0 for a region without a value."""
    return torch.tensor([values.get(region, 0.0) for region in Region], dtype=torch.float32)[regions.int()]


def clamp_positive(weights: Float[Tensor, "*any"], low: float, high: float) -> Float[Tensor, "*any"]:
    """Clamp positive weights into [low, high]. 0 stays 0, and what is no weight (negative, NaN, infinite) stays as it
    is, for the check of all weights to find."""
    return weights.clamp(low, high).where((weights > 0) & weights.isfinite(), weights)


def bound(
    weights: Float32[Tensor, "batch token"], response_mask: Mask, floor: float, cap: float
) -> Float32[Tensor, "batch token"]:
    """Bound the normalised weights of generated tokens to [floor, cap]; all others have weight 0.

    A floor keeps every sampled token in training, the end of sequence above all: a policy whose stop token has weight
    0 never learns to stop. A cap limits what one token can do to an update: `normalise_rows` gives the few weighted
    tokens of a row the weight of the whole row. A row in which a bound acts no longer keeps its sum.

    Args:
        weights: >= 0, normalised.
        response_mask: 1 where the policy generated the token.
        floor: in [0, 1].
        cap: >= 1; infinite for none.
    """
    return weights.clamp(floor, cap).masked_fill(~response_mask.bool(), 0.0)


def normalise_rows(weights: Float32[Tensor, "batch token"], response_mask: Mask) -> Float32[Tensor, "batch token"]:
    """Scale every row so that sum_t m_t w_t = sum_t m_t.

    The learning rate and verl's token mean then carry over from GRPO unchanged, however rows are split into
    micro-batches or over ranks. A row whose weights are all 0, such as text without any tag, has no scale: it gets
    weight 1 everywhere and trains as under GRPO, for else a malformed rollout would never be punished.

    Args:
        weights: >= 0.
        response_mask: 1 where the policy generated the token.
    """
    mask, present = response_mask.to(torch.float32), response_mask.bool().to(torch.float32)
    total = (weights * mask).sum(dim=-1, keepdim=True)
    tokens = mask.sum(dim=-1, keepdim=True)
    scaled = weights * present * (tokens / total.where(total > 0, tokens.new_ones(())))
    return torch.where(total > 0, scaled, present)


def normalise_positive(weights: Float32[Tensor, "batch token"], response_mask: Mask) -> Float32[Tensor, "batch token"]:
    """Scale every row to mean 1 over its tokens of positive weight, as the authors do, then the whole batch by
    sum(m) / sum(m w), so that its total is that of uniform weights.

    Rows with few weighted tokens then count less than under `normalise_rows`; a row without any has weight 0.

    Args:
        weights: >= 0.
        response_mask: 1 where the policy generated the token.
    """
    mask, present = response_mask.to(torch.float32), response_mask.bool().to(torch.float32)
    total = (weights * mask).sum(dim=-1, keepdim=True)
    positive = ((weights > 0) * mask).sum(dim=-1, keepdim=True)
    rows = weights * present * (positive / total.where(total > 0, total.new_ones(())))
    # A batch without any weight would not train at all: as in normalise_rows it trains as under GRPO.
    return rows * (mask.sum() / (rows * mask).sum()) if rows.any() else present


@dataclass
class BatchScale:
    """Normalisation by one constant for all tokens of a step: the reciprocal of the mean weight over earlier steps.

    The sum over a batch is then that of uniform weights on average over steps, and the constant is known before the
    batch is sampled: unlike a row's own sum it says nothing about what the row went on to write. The first step, which
    has none before it, takes its own mean. The batches of one step have one constant, unless it is the first.

    Attributes:
        decay: share of the old average in the new one; 0 takes the last step as it is.
        mean: mean weight of a generated token before normalisation, averaged over the steps before this one; None
            before the second step.
    """

    decay: float
    mean: float | None = None
    _step: int | None = field(default=None, repr=False)
    _total: float = field(default=0.0, repr=False)  # of the weights of this step
    _tokens: float = field(default=0.0, repr=False)

    def __call__(
        self, step: int, weights: Float32[Tensor, "batch token"], response_mask: Mask
    ) -> Float32[Tensor, "batch token"]:
        """Scale the weights of a batch, and take them into the average of the steps to come.

        Args:
            step: global step.
            weights: >= 0, and 0 where the mask is 0.
            response_mask: 1 where the policy generated the token.

        Returns:
            weights. A batch without any has no scale: it trains as under GRPO, and is in no average.
        """
        if step != self._step:
            self.mean, self._step, self._total, self._tokens = self.latest(), step, 0.0, 0.0
        total = float((weights * response_mask).sum(dtype=torch.float64))
        if total == 0.0:
            return response_mask.bool().to(torch.float32)
        self._total += total
        self._tokens += float(response_mask.sum())
        mean = self.latest() if self.mean is None else self.mean
        assert mean is not None, "this batch has weights"
        return weights / mean

    def latest(self) -> float | None:
        """The average with what this step has shown so far; None before any weight."""
        if not self._tokens:
            return self.mean
        now = self._total / self._tokens
        return now if self.mean is None else self.mean + (1.0 - self.decay) * (now - self.mean)


def effective_share(weights: Float32[Tensor, "batch token"], response_mask: Mask) -> float:
    """Effective share of tokens, (sum w)^2 / (n sum w^2) in (0, 1]: 1 when all n weights are equal; 0 for no token.

    Args:
        weights: >= 0, and 0 where the mask is 0.
        response_mask: 1 where the policy generated the token.
    """
    tokens, total = float(response_mask.sum()), float((weights * response_mask).sum())
    squares = float((weights.square() * response_mask).sum())
    return total**2 / (tokens * squares) if squares > 0 else 0.0


def gini(weights: Float32[Tensor, "batch token"], response_mask: Mask) -> float:
    """Gini coefficient of the weights of generated tokens, in [0, 1): 0 when all are equal, towards 1 when few tokens
    hold all the weight; 0 for no token.

    Weights that agree in their leading 8 bits count as equal (an error below 0.002): counting them so takes a tenth of
    the time of sorting millions.

    Args:
        weights: >= 0, and 0 where the mask is 0.
        response_mask: 1 where the policy generated the token.
    """
    flat = weights.flatten()
    if not len(flat):
        return 0.0
    leading = (flat.view(torch.int32) >> 16).short()  # the bits of floats >= 0 have the order of their values
    bins = int(leading.max()) + 1
    mask = response_mask.flatten()
    counts, sums = sum_by(leading, mask, bins), sum_by(leading, flat * mask, bins)
    tokens, total = counts.cumsum(0), float(sums.sum())
    # Of n tokens in ascending order the i-th has rank 2 i - n - 1; a bin has the mean of its tokens' ranks.
    ranks = 2 * tokens - counts - tokens[-1]
    return float(sums @ ranks) / (float(tokens[-1]) * total) if total > 0 else 0.0
