"""Advantages by `rest.credit=turn` and `span`: the events of each trajectory, from the rows of a batch to its tokens.

The events travel as text in the components of the reward (`rest_events`), since verl carries nothing else from the
reward manager to the trainer, and leaves text out of its metrics: a JSON list of [token, amount], with tokens counted
over what the policy generated in the whole trajectory, or [token, amount, true] where reasoning ends.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rest_verl.core.credit import Decided, Events, events_of, group_advantages, token_advantages
from rest_verl.core.regions import Mask
from rest_verl.weighting.step_batch import RowKey

EVENTS = "rest_events"  # key among the components of the reward


@dataclass(frozen=True)
class Trajectory:
    """One trajectory of a batch.

    Attributes:
        rows: its rows in order; with `per_turn` one for each turn.
        events: what its reward consists of.
    """

    rows: Sequence[int]
    events: Events


def write_events(decided: Sequence[Decided | tuple[int, float]]) -> str:
    """Events as text, for the components of a reward."""
    parts = [Decided(*part) for part in decided]
    return json.dumps([part if part.ends_reasoning else part[:2] for part in parts])


def trajectories_of(
    keys: Sequence[str],
    generated: Mask,
    rewards: Float[Tensor, " batch"],
    extra_fields: Sequence[Mapping[str, Any]],
) -> list[list[Trajectory]]:
    """The trajectories of each prompt.

    Args:
        keys: verl's key of each row, <uid>_<session>_<output>.
        generated: 1 where the policy generated the token.
        rewards: of each row's trajectory.
        extra_fields: of each row; the events are those of a trajectory's last row.
    """
    sessions: dict[str, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for row, key in enumerate(keys):
        uid, session, output = RowKey.parse(key)
        sessions[uid][session].append((output, row))
    lengths = generated.bool().sum(dim=-1).tolist()
    return [
        [
            _trajectory([row for _, row in sorted(rows)], lengths, rewards, extra_fields)
            for _, rows in sorted(group.items())
        ]
        for group in sessions.values()
    ]


def credit_advantages(
    groups: Sequence[Sequence[Trajectory]], generated: Mask, lam: float, by_std: bool
) -> Float32[Tensor, "batch token"]:
    """Advantage of every token that the policy generated (`core.credit`); 0 for all others.

    Args:
        groups: from `trajectories_of`.
        generated: 1 where the policy generated the token.
        lam: lambda, in [0, 1].
        by_std: divide each group by its scale (`core.credit.scale_of`).
    """
    mask = generated.bool()
    advantages = torch.zeros(mask.shape)
    for group in groups:
        found = group_advantages([one.events for one in group], lam, by_std)
        for trajectory, by_event in zip(group, found, strict=True):
            values = torch.from_numpy(token_advantages(trajectory.events, by_event)).float()
            rows = torch.tensor(trajectory.rows)
            part = torch.zeros(len(rows), mask.shape[1])
            part[mask[rows]] = values  # in the order of rows and tokens, which is the trajectory's
            advantages[rows] = part
    return advantages


def event_places(groups: Sequence[Sequence[Trajectory]], generated: Mask) -> list[list[tuple[int, float]]]:
    """The events of each row, as (token, amount) with tokens counted in the row, masked ones included. What the end
    alone decides is in the amount of a trajectory's last token, so that the amounts of all its rows sum to its reward.

    Args:
        groups: from `trajectories_of`.
        generated: 1 where the policy generated the token.
    """
    mask = generated.bool()
    places: list[list[tuple[int, float]]] = [[] for _ in range(len(mask))]
    for trajectory in (one for group in groups for one in group):
        events = trajectory.events
        amounts = events.amounts.copy()
        amounts[-1] += events.outcome
        at = mask[torch.tensor(trajectory.rows)].nonzero()  # of each generated token: its row, its place there
        for token, amount in zip(events.tokens.tolist(), amounts.tolist(), strict=True):
            if token >= 0:  # -1: nothing was generated
                row, place = at[token].tolist()
                places[trajectory.rows[row]].append((place, amount))
    return places


def credit_metrics(groups: Sequence[Sequence[Trajectory]]) -> dict[str, float]:
    """`rest/credit/events`: mean number of events of a trajectory; `rest/credit/decided`: mean sum of their amounts;
    `rest/credit/outcome`: mean of what is decided at the end alone."""
    events = [trajectory.events for group in groups for trajectory in group]
    return {
        "rest/credit/events": float(np.mean([len(one.tokens) for one in events])),
        "rest/credit/decided": float(np.mean([one.amounts.sum() for one in events])),
        "rest/credit/outcome": float(np.mean([one.outcome for one in events])),
    }


def _trajectory(
    rows: list[int],
    lengths: Sequence[int],
    rewards: Float[Tensor, " batch"],
    extra_fields: Sequence[Mapping[str, Any]],
) -> Trajectory:
    last = rows[-1]
    text = (extra_fields[last].get("reward_extra_info") or {}).get(EVENTS)
    decided = [Decided(*part) for part in json.loads(text)] if text else []
    return Trajectory(rows, events_of(float(rewards[last]), sum(lengths[row] for row in rows), decided))
