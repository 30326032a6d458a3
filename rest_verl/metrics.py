"""What ResT logs each step, under `rest/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

from rest_verl.core.entropy import region_means
from rest_verl.core.regions import Region
from rest_verl.core.weights import effective_share


def weight_metrics(
    regions: torch.Tensor, response_mask: torch.Tensor, weights: torch.Tensor, entropy: torch.Tensor | None
) -> dict[str, float]:
    """Per region: tokens, mean weight and mean entropy in nats; over all: the effective share of tokens, and the share
    of rows in which no token belongs to a region.

    Args:
        regions: (B, T) int8 of `Region`.
        response_mask: (B, T).
        weights: (B, T) float.
        entropy: (B, T) float in nats; None where verl computes none (bypass mode).
    """
    generated = response_mask.bool()
    counts = torch.bincount(regions[generated].long(), minlength=len(Region))
    metrics = {f"rest/tokens/{_name(region)}": float(counts[region]) for region in Region}
    metrics |= _by_region("rest/weight", region_means(weights, regions, response_mask))
    if entropy is not None:
        metrics |= _by_region("rest/entropy", region_means(entropy, regions, response_mask))
    rows = generated.any(dim=-1)
    untagged = rows & ~(generated & (regions != Region.OTHER)).any(dim=-1)
    metrics["rest/rows_untagged"] = float(untagged.sum() / rows.sum().clamp_min(1))
    metrics["rest/weight_ess"] = effective_share(weights, response_mask)
    return metrics


def reward_metrics(extra_fields: Iterable[dict[str, Any]], response_mask: torch.Tensor) -> dict[str, float]:
    """Mean of every reward component over the rows that were generated: `rest/reward/<component>`.

    verl logs components in validation only, and the scheduled reward alone does not tell form from content.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for row, generated in zip(extra_fields, response_mask.bool().any(dim=-1).tolist(), strict=True):
        if not generated:
            continue
        for key, value in row.get("reward_extra_info", {}).items():
            if isinstance(value, int | float):
                values[key].append(float(value))
    return {f"rest/reward/{key}": sum(found) / len(found) for key, found in values.items()}


def _by_region(prefix: str, values: dict[Region, float]) -> dict[str, float]:
    return {f"{prefix}/{_name(region)}": value for region, value in values.items()}


def _name(region: Region) -> str:
    return region.name.lower()
