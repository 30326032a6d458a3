"""The data of one batch during a training step: each stage fills some fields, and later stages read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float32, Int8, Int64
from torch import Tensor

from rest_verl.core.regions import Mask, Region, RegionSums, TaggedBatch
from rest_verl.core.runs import Runs


class RowKey(NamedTuple):
    """verl's key of a row, `<uid>_<session>_<output>`: its prompt, the rollout of the prompt, the rollout's output."""

    uid: str
    session: int
    output: int

    @classmethod
    def parse(cls, key: str) -> RowKey:
        """Read a key of verl's transfer queue."""
        uid, session, output = key.rsplit("_", 2)
        return cls(uid, int(session), int(output))

    @property
    def trajectory(self) -> tuple[str, int]:
        """The trajectory to which the row belongs."""
        return self.uid, self.session


def last_rows(keys: Sequence[RowKey], rows: Iterable[int] | None = None) -> dict[tuple[str, int], int]:
    """The row of each trajectory's last output, which holds what is said of the whole: several rows are of one
    trajectory with `rest.rollout.per_turn`.

    Args:
        keys: of each row.
        rows: those that count; all by default.
    """
    last: dict[tuple[str, int], int] = {}
    for row in range(len(keys)) if rows is None else rows:
        key = keys[row]
        if key.output >= keys[last.setdefault(key.trajectory, row)].output:
            last[key.trajectory] = row
    return last


@dataclass(frozen=True)
class Row:
    """What is known of a row beside its tokens. All rows of one trajectory have that of the whole.

    Attributes:
        key: verl's key; `key.uid` is the group.
        score: the trajectory's reward.
        components: what the reward manager says of it, numbers only.
        turn_scores: of its user turns, in order, where the environment scores them (`rollout.environment`).
        states: name of the environment's state in which each turn was generated, in order, where the environment names
            them; empty where it does not.
    """

    key: RowKey
    score: float
    components: Mapping[str, float] = field(default_factory=dict)
    turn_scores: Sequence[float] = ()
    states: Sequence[str] = ()


@dataclass
class StepBatch:
    """A batch of a step, padded on the right. For a scheme by region a place on the second axis is a run of tokens
    (`core.runs`): then fields that need each token are None, and `tagged` counts the tokens of a place.

    Schemes, metrics and records read it; fields that no stage has filled yet are None or empty. A scheme gets a copy
    in which every number is finite, and in which the fields that it does not declare in `needs` are None or empty.

    Attributes:
        step: global step, from 1.
        tagged: regions, and the mask of the trained tokens: the response mask, which includes rollout correction once
            the advantages are computed.
        entropy: entropy of the old policy in nats; None if verl computes none (bypass mode).
        sum_pi_squared: sum of squared probabilities; None unless the actor reports it.

        variance: V of each token (`core.entropy`). `TokenWeighting` fills this, `region_variance` and `region_entropy`
            for schemes that need the entropy, and `lam`, `progress`, `weights` and `token_credit` for every scheme.
        region_variance: V of every region, averaged over steps.
        lam: value of the curriculum, in [0, 1]: 0 stresses structure, 1 the reasoning targets.
        weights: result of the weighting; 0 where the mask is 0.

        entropy_sums: sums of the entropy over each region, and
        variance_sums: of V. Where places are runs, the trainer fills them instead of `entropy`.

        runs: the batch as runs, by what was generated. The trainer fills this and the next three.
        trained: the same by the mask of the trained tokens.
        flat: values of all tokens, those of one response after those of another, without padding: of the `entropy`,
            `advantage` (without weights) and `weight`, where they are known.
        generated: response mask before rollout correction; None where places are runs.
        extra_fields: extra fields of each row, from the agent loop and the reward manager.
        credit: metrics of `rest.credit=turn`.
        events: of each row, the tokens that decided a part of the reward, with what they decided; None for a step
            that is not recorded, and with `rest.credit=trajectory`.
        advantages: advantages without weights, by `rest.credit`; None where the weights are stored next to the
            advantages instead of multiplied into them, unless the scheme needs them.

        keys: verl's key of each row.
        progress: share of the run's steps that this step completes, in (0, 1].
        old_log_prob: log-probability of each sampled token under the old policy, in nats: what the ratio of the policy
            loss is taken to. With bypass mode that is the rollout's.
        rollout_log_prob: the same by the inference engine that sampled it.
        rows: one for each row.
        malformed: 1 for each token of a call that cannot be read (`core.malformed`).
        region_entropy: entropy of every region in nats, averaged over steps, this one included.
        region_signal: t^2 of the regions measured so far, averaged over the steps before this one (`core.signal`).
        token_credit: credit that the scheme adds to the weighted advantages; None if it gives none.
    """

    step: int
    tagged: TaggedBatch
    entropy: Float[Tensor, "batch token"] | None = None
    sum_pi_squared: Float[Tensor, "batch token"] | None = None
    variance: Float[Tensor, "batch token"] | None = None
    region_variance: Mapping[Region, float] = field(default_factory=dict)
    lam: float = 0.0
    weights: Float32[Tensor, "batch token"] | None = None
    entropy_sums: RegionSums | None = None
    variance_sums: RegionSums | None = None
    runs: Runs | None = None
    trained: Runs | None = None
    flat: dict[str, Float[Tensor, " flat"]] = field(default_factory=dict)
    generated: Mask | None = None
    extra_fields: Sequence[Mapping[str, Any]] = ()
    credit: Mapping[str, float] = field(default_factory=dict)
    events: Sequence[Sequence[tuple[int, float]]] | None = None
    advantages: Float[Tensor, "batch token"] | None = None
    keys: Sequence[RowKey] = ()
    progress: float = 0.0
    old_log_prob: Float[Tensor, "batch token"] | None = None
    rollout_log_prob: Float[Tensor, "batch token"] | None = None
    rows: Sequence[Row] = ()
    malformed: Mask | None = None
    region_entropy: Mapping[Region, float] = field(default_factory=dict)
    region_signal: Mapping[Region, float] = field(default_factory=dict)
    token_credit: Float32[Tensor, "batch token"] | None = None

    @property
    def regions(self) -> Int8[Tensor, "batch token"]:
        """The `Region` of each token."""
        return self.tagged.regions

    @property
    def response_mask(self) -> Mask:
        """1 for each trained token."""
        return self.tagged.response_mask

    @property
    def trajectories(self) -> list[tuple[str, int]]:
        """The trajectory of each row; without keys each row is one, and all are of one group."""
        return [key.trajectory for key in self.keys] or [("", row) for row in range(len(self.regions))]

    @property
    def counts(self) -> Int64[Tensor, " region"]:
        """Number of trained tokens of each `Region`, in its order."""
        return self.tagged.counts

    @property
    def turns(self) -> Int64[Tensor, "batch token"]:
        """The number of each token's turn in its trajectory, from 0; -1 where the policy did not generate the token.

        A turn is one stretch of generated tokens, or one output with `rest.rollout.per_turn`.
        """
        mask = (self.response_mask if self.generated is None else self.generated).bool()
        begins = mask.clone()
        begins[:, 1:] &= ~mask[:, :-1]
        numbers = begins.cumsum(dim=-1) - 1
        return (numbers + self._turns_before(begins.sum(dim=-1))[:, None]).masked_fill(~mask, -1)

    @property
    def turns_to_come(self) -> Int64[Tensor, "batch token"]:
        """Number of turns after that of each token in its trajectory; 0 where the policy did not generate the
        token."""
        turns = self.turns
        in_row = turns.amax(dim=-1).tolist() if turns.numel() else []
        last: dict[tuple[str, int], int] = {}
        for trajectory, number in zip(self.trajectories, in_row, strict=True):
            last[trajectory] = max(number, last.get(trajectory, number))
        in_all = torch.tensor([last[one] for one in self.trajectories], dtype=torch.int64)
        return (in_all[:, None] - turns).masked_fill(turns < 0, 0)

    def _turns_before(self, turns: Int64[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
        """Number of turns in the earlier outputs of each row's trajectory, given those of each row."""
        before = torch.zeros_like(turns)
        so_far: dict[tuple[str, int], int] = {}
        for _, row in sorted((key.output, row) for row, key in enumerate(self.keys)):
            trajectory = self.keys[row].trajectory
            before[row] = so_far.get(trajectory, 0)
            so_far[trajectory] = int(before[row] + turns[row])
        return before
