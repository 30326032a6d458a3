"""The data of one batch during a training step: each stage fills some fields, and later stages read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rest_verl.core.regions import Region, TaggedBatch


@dataclass
class StepBatch:
    """A batch of a step, padded on the right to (B, T).

    Schemes, metrics and records read it; fields that no stage has filled yet are None or empty.

    Attributes:
        step: global step, from 1.
        tagged: regions, and the mask of the trained tokens: the response mask, which includes rollout correction once
            the advantages are computed.
        entropy: (B, T) float, nats, entropy of the old policy; None where verl computes none (bypass mode).
        sum_pi_squared: (B, T) float, sum of squared probabilities; None unless the actor reports it.

        variance: (B, T) float, V of each token (`core.entropy`). `TokenWeighting` fills this and `region_variance` for
            schemes that measure entropy, and `lam` and `weights` for every scheme.
        region_variance: V of each region, averaged over steps.
        lam: value of the curriculum, in [0, 1]: 0 stresses structure, 1 the reasoning targets.
        weights: (B, T) float32, the result of the weighting; 0 where the mask is 0.

        responses: (B, T) int64, token ids as sampled. The trainer fills this and the next three when it reads a batch.
        generated: (B, T), the response mask before rollout correction.
        lengths: (B,) int64, number of tokens of each response.
        extra_fields: extra fields of each row, from the agent loop and the reward manager.
        advantages: (B, T) float, advantages of the base estimator without weights; None where the weights are stored
            next to the advantages instead of multiplied into them.
    """

    step: int
    tagged: TaggedBatch
    entropy: torch.Tensor | None = None
    sum_pi_squared: torch.Tensor | None = None
    variance: torch.Tensor | None = None
    region_variance: Mapping[Region, float] = field(default_factory=dict)
    lam: float = 0.0
    weights: torch.Tensor | None = None
    responses: torch.Tensor | None = None
    generated: torch.Tensor | None = None
    lengths: torch.Tensor | None = None
    extra_fields: Sequence[Mapping[str, Any]] = ()
    advantages: torch.Tensor | None = None

    @property
    def regions(self) -> torch.Tensor:
        """(B, T) int8 of `Region`."""
        return self.tagged.regions

    @property
    def response_mask(self) -> torch.Tensor:
        """(B, T), 1 for each trained token."""
        return self.tagged.response_mask

    @property
    def counts(self) -> torch.Tensor:
        """(len(Region),) int64, number of trained tokens of each region."""
        return self.tagged.counts
