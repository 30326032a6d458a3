"""Metrics that ResT logs each step, under `rest/`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from jaxtyping import Float
from torch import Tensor

from rest_verl.core.regions import Region
from rest_verl.core.runs import Runs
from rest_verl.core.weights import effective_share, gini
from rest_verl.weighting.step_batch import RowKey, StepBatch, last_rows


def weight_metrics(batch: StepBatch) -> dict[str, float]:
    """Metrics of a weighted batch. Per region: number of tokens, mean weight, mean entropy in nats. Over all tokens:
    effective share of tokens, Gini coefficient and maximum of the weights, mean size of the credit that the scheme
    gives, if it gives any, and share of rows without any token of reasoning, answer, name or arguments.

    Args:
        batch: a batch with `weights`.
    """
    assert batch.weights is not None, "TokenWeighting fills weights first"
    tagged = batch.tagged
    metrics = {f"rest/tokens/{region.label}": float(tagged.counts[region]) for region in Region}
    metrics |= by_region("rest/weight", tagged.means(batch.weights))
    entropies = batch.entropy_sums
    if entropies is None and batch.entropy is not None:
        entropies = tagged.sums(batch.entropy)
    if entropies is not None:
        metrics |= by_region("rest/entropy", entropies.means())
    rows = tagged.generated.any(dim=-1)
    in_span = tagged.generated & (batch.regions != Region.OTHER) & (batch.regions != Region.FORMAT)
    metrics["rest/rows_untagged"] = float((rows & ~in_span.any(dim=-1)).sum() / rows.sum().clamp_min(1))
    metrics["rest/weight_ess"] = effective_share(batch.weights, batch.response_mask)
    metrics["rest/weight_gini"] = gini(batch.weights, batch.response_mask)
    metrics["rest/weight_max"] = float(batch.weights.max()) if batch.weights.numel() else 0.0
    if batch.token_credit is not None:
        tokens = tagged.generated.sum().clamp_min(1)
        metrics["rest/token_credit"] = float(batch.token_credit.abs().sum() / tokens)
    return metrics


def not_finite_metrics(runs: Runs, values: Mapping[str, Float[Tensor, " token"]]) -> dict[str, float]:
    """`rest/not_finite/<quantity>`: number of trained tokens whose value is NaN or infinite. None of them enters an
    average, but a log-probability or an advantage among them spoils the update itself."""
    return {f"rest/not_finite/{name}": float(runs.not_finite(found)) for name, found in values.items()}


def trajectory_rows(keys: Sequence[RowKey], tags: Sequence[Mapping[str, Any]]) -> list[int]:
    """The row that stands for each trajectory of a batch: its last output.

    Args:
        keys: verl's key of each row.
        tags: verl's tags of each row; padding rows are skipped.
    """
    real = [row for row, tag in enumerate(tags) if not tag.get("is_padding", False)]
    return [*last_rows(keys, real).values()]


def reward_metrics(trajectories: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Means over trajectories: `rest/reward/<component>` for the components of the reward, `rest/rollout/<number>` for
    the numbers of the agent loop, and `rest/environment/<number>` for an environment's own. A component that is not
    finite is counted in `rest/not_finite/reward` instead.

    verl logs components in validation only, and the scheduled reward alone mixes format and correctness.

    Args:
        trajectories: extra fields of one row per trajectory (`trajectory_rows`), also of those that rollout correction
            rejected: their tokens are not trained on, but their reward was earned.
    """
    values: dict[str, list[float]] = defaultdict(list)
    not_finite = 0
    for row in trajectories:
        for key, value in row.get("reward_extra_info", {}).items():
            if isinstance(value, Real):
                if math.isfinite(value):
                    values[key].append(float(value))
                else:
                    not_finite += 1
    metrics = {_metric_name(key): sum(found) / len(found) for key, found in values.items()}
    return metrics | {"rest/not_finite/reward": float(not_finite)}


def group_metrics(uids: Sequence[str], trajectories: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What a step's groups, the trajectories of one prompt, can teach: a group whose rewards are all the same has no
    advantage. Shares of the groups of two and more trajectories: `rest/groups/no_spread`, all `score`s the same;
    `no_spread_in/<component>`, the same for each component of the reward; `all_right` and `all_wrong`, every `acc` 1,
    or none. A group with a value that is missing or not finite is not counted in its share.

    Args:
        uids: prompt of each trajectory.
        trajectories: extra fields of each, as for `reward_metrics`.
    """
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for uid, row in zip(uids, trajectories, strict=True):
        groups[uid].append(row.get("reward_extra_info", {}))
    shares: dict[str, list[bool]] = defaultdict(list)
    for rows in groups.values():
        if len(rows) < 2:
            continue
        for key in rows[0]:
            values = [row.get(key) for row in rows]
            if "/" in key or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
                continue
            shares["no_spread" if key == "score" else f"no_spread_in/{key}"].append(len(set(values)) == 1)
            if key == "acc":
                shares["all_right"].append(set(values) == {1})
                shares["all_wrong"].append(1 not in values)
    return {f"rest/groups/{name}": sum(found) / len(found) for name, found in shares.items()}


def rename_actor_metrics(metrics: dict[str, Any]) -> None:
    """Move the metrics of the policy loss `rest` to `rest/`: verl prefixes all metrics of the actor's workers with
    `actor/`."""
    for name in [name for name in metrics if name.startswith("actor/rest/")]:
        metrics[name.removeprefix("actor/")] = metrics.pop(name)


def _metric_name(component: str) -> str:
    return f"rest/{component}" if component.startswith(("rollout/", "environment/")) else f"rest/reward/{component}"


def by_region(prefix: str, values: Mapping[Region, float]) -> dict[str, float]:
    """Values by metric name: `<prefix>/<region>`."""
    return {f"{prefix}/{region.label}": value for region, value in values.items()}
