"""What is known of each row of a batch beside its tokens, for schemes that need it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from rest_verl.core.runs import Runs
from rest_verl.weighting.step_batch import Row, RowKey, last_rows

# Among the components of the reward: the runs of each output of a trajectory as text, with what stands between them.
RUNS, OUTPUTS = "rest_runs", "|"
# Among the extra fields of a trajectory's last row, from the agent loop.
TURN_SCORES, STATES = "rest_turn_scores", "rest_states"


def runs_of(
    keys: Sequence[RowKey], extra_fields: Sequence[Mapping[str, Any]], lengths: Int64[Tensor, " batch"]
) -> Runs | None:
    """The runs of a batch as the reward manager found them; None where it did not, or not for all rows as they are.

    Args:
        keys: verl's key of each row.
        extra_fields: of each row, from the reward manager.
        lengths: number of tokens of each response.
    """
    texts = []
    for key, fields in zip(keys, extra_fields, strict=True):
        outputs = ((fields.get("reward_extra_info") or {}).get(RUNS) or "").split(OUTPUTS)
        texts.append(outputs[key.output] if key.output < len(outputs) else "")
    runs = Runs.read(texts)
    return runs if torch.equal(runs.lengths, lengths) else None


def rows_of(
    keys: Sequence[RowKey], scores: Sequence[float], extra_fields: Sequence[Mapping[str, Any]]
) -> tuple[Row, ...]:
    """The rows of a batch; those of one trajectory share what its last row says of it.

    Args:
        keys: verl's key of each row.
        scores: reward of each row's trajectory.
        extra_fields: of each row, from the agent loop and the reward manager.
    """
    last, rows = last_rows(keys), []
    for key, score in zip(keys, scores, strict=True):
        fields = extra_fields[last[key.trajectory]]
        components = {
            name: float(value)
            for name, value in (fields.get("reward_extra_info") or {}).items()
            if isinstance(value, Real)
        }
        turn_scores, states = (tuple(fields.get(name) or ()) for name in (TURN_SCORES, STATES))
        rows.append(Row(key, float(score), components, turn_scores, states))
    return tuple(rows)


def finite_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows with finite numbers alone: a score that is none becomes the mean of its group's others, or 0 where there is
    no other; a component that is none is left out."""
    if all(math.isfinite(value) for row in rows for value in (row.score, *row.components.values())):
        return tuple(rows)
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if math.isfinite(row.score):
            scores[row.key.uid].append(row.score)
    return tuple(
        replace(
            row,
            score=row.score if math.isfinite(row.score) else _mean(scores[row.key.uid]),
            components={name: value for name, value in row.components.items() if math.isfinite(value)},
        )
        for row in rows
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
