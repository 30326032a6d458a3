"""From regions to one weight per token: w_t = g_region(t)(step), clamped, then normalised.

The policy gradient of token t is multiplied by w_t. Weights are 0 where the mask is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rest_verl.core.curriculum import Schedule
from rest_verl.core.regions import Region


def region_weights(
    schedules: Mapping[Region, Schedule], step: int, clamp_min: float, clamp_max: float
) -> dict[Region, float]:
    """Weight of every region at a step; positive weights are clamped into [clamp_min, clamp_max], 0 stays 0."""
    raw = {region: schedule(step) for region, schedule in schedules.items()}
    return {region: min(max(weight, clamp_min), clamp_max) if weight > 0 else 0.0 for region, weight in raw.items()}


def token_weights(regions: torch.Tensor, response_mask: torch.Tensor, weights: Mapping[Region, float]) -> torch.Tensor:
    """Weight of every token before normalisation.

    Args:
        regions: (B, T) int8 of `Region`.
        response_mask: (B, T), 1 where the policy generated the token.
        weights: the weight of each region.

    Returns:
        (B, T) float32.
    """
    table = torch.tensor([weights[region] for region in Region], dtype=torch.float32)
    return table[regions.long()] * response_mask


def normalise_rows(weights: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
    """Scale every row so that sum_t m_t w_t = sum_t m_t.

    The learning rate and verl's token mean then carry over from GRPO unchanged, however rows are split into
    micro-batches or over ranks. A row whose weights are all 0, such as text without any tag, has no scale: it gets
    weight 1 everywhere and trains as under GRPO, for else a malformed rollout would never be punished.

    Args:
        weights: (B, T) float32, >= 0.
        response_mask: (B, T).

    Returns:
        (B, T) float32.
    """
    mask = response_mask.to(torch.float32)
    total = (weights * mask).sum(dim=-1, keepdim=True)
    tokens = mask.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, weights * mask * (tokens / total.where(total > 0, tokens.new_ones(()))), mask)


def effective_share(weights: torch.Tensor, response_mask: torch.Tensor) -> float:
    """Effective share of tokens, (sum w)^2 / (n sum w^2) in (0, 1]: 1 when all n weights are equal; 0 for no token."""
    generated = weights[response_mask.bool()].double()
    squares = float((generated**2).sum())
    return float(generated.sum()) ** 2 / (len(generated) * squares) if squares > 0 else 0.0
