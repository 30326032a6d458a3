"""The data of one batch during a training step: each stage fills some fields, and later stages read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Float, Float32, Int8, Int64, Integer
from torch import Tensor

from rest_verl.core.regions import Mask, Region, TaggedBatch


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


@dataclass
class StepBatch:
    """A batch of a step, padded on the right.

    Schemes, metrics and records read it; fields that no stage has filled yet are None or empty.

    Attributes:
        step: global step, from 1.
        tagged: regions, and the mask of the trained tokens: the response mask, which includes rollout correction once
            the advantages are computed.
        entropy: entropy of the old policy in nats; None if verl computes none (bypass mode).
        sum_pi_squared: sum of squared probabilities; None unless the actor reports it.

        variance: V of each token (`core.entropy`). `TokenWeighting` fills this and `region_variance` for schemes that
            measure entropy, and `lam` and `weights` for every scheme.
        region_variance: V of every region, averaged over steps.
        lam: value of the curriculum, in [0, 1]: 0 stresses structure, 1 the reasoning targets.
        weights: result of the weighting; 0 where the mask is 0.

        responses: token ids as sampled. The trainer fills this and the next three when it reads a batch.
        generated: response mask before rollout correction.
        lengths: number of tokens of each response.
        extra_fields: extra fields of each row, from the agent loop and the reward manager.
        credit: metrics of `rest.credit=turn`.
        advantages: advantages without weights, by `rest.credit`; None where the weights are stored next to the
            advantages instead of multiplied into them.
    """

    step: int
    tagged: TaggedBatch
    entropy: Float[Tensor, "batch token"] | None = None
    sum_pi_squared: Float[Tensor, "batch token"] | None = None
    variance: Float[Tensor, "batch token"] | None = None
    region_variance: Mapping[Region, float] = field(default_factory=dict)
    lam: float = 0.0
    weights: Float32[Tensor, "batch token"] | None = None
    responses: Integer[Tensor, "batch token"] | None = None
    generated: Mask | None = None
    lengths: Int64[Tensor, " batch"] | None = None
    extra_fields: Sequence[Mapping[str, Any]] = ()
    credit: Mapping[str, float] = field(default_factory=dict)
    advantages: Float[Tensor, "batch token"] | None = None

    @property
    def regions(self) -> Int8[Tensor, "batch token"]:
        """The `Region` of each token."""
        return self.tagged.regions

    @property
    def response_mask(self) -> Mask:
        """1 for each trained token."""
        return self.tagged.response_mask

    @property
    def counts(self) -> Int64[Tensor, " region"]:
        """Number of trained tokens of each `Region`, in its order."""
        return self.tagged.counts
