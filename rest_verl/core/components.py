"""Advantages from the components of a reward, each normalised by itself: GDPO (arXiv 2601.05242), and which component
reaches which tokens.

With r_k the component k of a trajectory's reward, g its group and w_k the weight of the component:

    A_k = w_k (r_k - mean_g r_k) / (std_g r_k + eps)            A = sum_k A_k
    advantage of a token = (A - mean A) / sqrt(var A + 1e-8)    over all trained tokens of the batch

The second line is linear in A, so it is also the sum of (A_k - mean A_k) / sqrt(var A + 1e-8) over the components. A
matrix says which of these terms reach a token, by its region; where all do, that is GDPO.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor

from rest_verl.core.regions import Mask

EPSILON, WHITENING = 1e-6, 1e-8  # verl's


def normalised_components(
    components: Float[Tensor, "trajectory component"],
    groups: Int64[Tensor, " trajectory"],
    weights: Sequence[float],
    by_std: bool = True,
) -> Float[Tensor, "trajectory component"]:
    """A_k of each trajectory. A component that is not finite counts as its group's mean.

    Args:
        components: r_k.
        groups: the group of each trajectory, any integers.
        weights: w_k.
        by_std: divide by the standard deviation of the group, with n - 1. As in verl, a group of one has mean 0 and
            standard deviation 1.
    """
    found = torch.zeros_like(components)
    for group in groups.unique():
        rows = groups == group
        for number, weight in enumerate(weights):
            values = components[rows, number]
            finite = values[values.isfinite()]
            alone = int(rows.sum()) == 1
            mean = 0.0 if alone or not len(finite) else finite.mean()
            std = finite.std() if by_std and not alone and len(finite) > 1 else torch.tensor(1.0)
            scale = std + EPSILON if by_std else 1.0
            found[rows, number] = (weight * (values - mean) / scale).where(values.isfinite(), 0.0)
    return found


def routed_advantages(
    components: Float[Tensor, "batch component"],
    regions: Int8[Tensor, "batch token"],
    response_mask: Mask,
    reach: Bool[Tensor, "component region"],
) -> Float[Tensor, "batch token"]:
    """The advantage of each token, 0 where the mask is 0 or no component reaches.

    Args:
        components: A_k of each row.
        regions: region of each token.
        response_mask: 1 for each trained token.
        reach: whether a component reaches the tokens of a region, in the order of `Region`.
    """
    mask = response_mask.bool()
    tokens = response_mask.sum(dim=-1).to(components.dtype)
    total = tokens.sum()
    if total < 2:
        return torch.zeros(regions.shape, dtype=components.dtype)
    means = (components * tokens[:, None]).sum(dim=0) / total
    centred = components - means
    variance = (centred.sum(dim=-1).square() * tokens).sum() / (total - 1)
    terms = centred / (variance + WHITENING).sqrt()
    by_region = terms @ reach.to(terms.dtype)
    return by_region.gather(1, regions.long()).where(mask, 0.0)
