"""Entropy of the policy, by region.

Why entropy: for logits z, E_{a~p} ||d log p(a)/dz||^2 = 1 - sum_a p(a)^2 <= 1 - exp(-H), so tokens of low entropy
carry gradients of low variance.
"""

from __future__ import annotations

import torch

from rest_verl.core.regions import Region


def region_means(values: torch.Tensor, regions: torch.Tensor, response_mask: torch.Tensor) -> dict[Region, float]:
    """Mean of a per-token quantity over the generated tokens of each region.

    Args:
        values: (B, T) float, such as entropy in nats.
        regions: (B, T) int8 of `Region`.
        response_mask: (B, T), 1 where the policy generated the token.

    Returns:
        the mean of every region that has a token; regions without one are left out.
    """
    generated = response_mask.bool()
    tokens = regions[generated].long()
    counts = torch.bincount(tokens, minlength=len(Region))
    sums = torch.bincount(tokens, weights=values[generated].double(), minlength=len(Region))
    return {region: float(sums[region] / counts[region]) for region in Region if counts[region] > 0}
