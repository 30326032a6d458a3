"""Metrics that ResT logs each step, under `rest/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from rest_verl.core.regions import Mask, Region
from rest_verl.core.weights import effective_share, gini
from rest_verl.weighting.step_batch import StepBatch


def weight_metrics(batch: StepBatch) -> dict[str, float]:
    """Metrics of a weighted batch. Per region: number of tokens, mean weight, mean entropy in nats. Over all tokens:
    effective share of tokens, Gini coefficient of the weights, and share of rows in which no token has a region.

    Args:
        batch: a batch with `weights`.
    """
    assert batch.weights is not None, "TokenWeighting fills weights first"
    tagged = batch.tagged
    metrics = {f"rest/tokens/{region.label}": float(tagged.counts[region]) for region in Region}
    metrics |= by_region("rest/weight", tagged.means(batch.weights))
    if batch.entropy is not None:
        metrics |= by_region("rest/entropy", tagged.means(batch.entropy))
    rows = tagged.generated.any(dim=-1)
    with_region = (batch.regions.masked_fill(~tagged.generated, Region.OTHER) != Region.OTHER).any(dim=-1)
    metrics["rest/rows_untagged"] = float((rows & ~with_region).sum() / rows.sum().clamp_min(1))
    metrics["rest/weight_ess"] = effective_share(batch.weights, batch.response_mask)
    metrics["rest/weight_gini"] = gini(batch.weights, batch.response_mask)
    return metrics


def reward_metrics(extra_fields: Iterable[Mapping[str, Any]], response_mask: Mask) -> dict[str, float]:
    """Means over the rows with generated tokens: `rest/reward/<component>` for the components of the reward, and
    `rest/rollout/<number>` for the numbers of the agent loop.

    verl logs components in validation only, and the scheduled reward alone mixes format and correctness.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for row, generated in zip(extra_fields, response_mask.bool().any(dim=-1).tolist(), strict=True):
        if not generated:
            continue
        for key, value in row.get("reward_extra_info", {}).items():
            if isinstance(value, Real):
                values[key].append(float(value))
    return {_metric_name(key): sum(found) / len(found) for key, found in values.items()}


def rename_actor_metrics(metrics: dict[str, Any]) -> None:
    """Move the metrics of the policy loss `rest` to `rest/`: verl prefixes all metrics of the actor's workers with
    `actor/`."""
    for name in [name for name in metrics if name.startswith("actor/rest/")]:
        metrics[name.removeprefix("actor/")] = metrics.pop(name)


def _metric_name(component: str) -> str:
    return f"rest/{component}" if component.startswith("rollout/") else f"rest/reward/{component}"


def by_region(prefix: str, values: Mapping[Region, float]) -> dict[str, float]:
    """Values by metric name: `<prefix>/<region>`."""
    return {f"{prefix}/{region.label}": value for region, value in values.items()}
