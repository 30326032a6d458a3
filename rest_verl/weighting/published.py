"""Rules published elsewhere, as schemes: one function each, whose docstring has the equation and its source.

docs/paper_index.md lists them with their presets and tests. A weight that depends on the sampled token (on its
log-probability, its advantage) or on what is sampled later bends the objective: choices that never matter drift
(docs/algorithm.md). Each rule of which that is true says so.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from rest_verl.config.rest import RestConfig
from rest_verl.weighting.schemes import register_scheme
from rest_verl.weighting.step_batch import StepBatch


@register_scheme("top_fifth", needs={"entropy"}, reads=frozenset({"top_fifth"}))
def top_fifth(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = 1 for the share rho of the batch's tokens of greatest entropy, else 0: 1[H_t >= tau_rho], rho = 0.2
    (the 80/20 rule, arXiv 2506.01939, equation 5).

    Among equal entropies the first in the batch go first. The threshold is the batch's own: it says little of a single
    token, so the weight is all but known before the token is drawn.
    """
    assert batch.entropy is not None
    generated = batch.response_mask.bool()
    count = math.ceil(settings.top_fifth.share * int(generated.sum()))
    entropy = batch.entropy.masked_fill(~generated, -math.inf).flatten()
    weights = torch.zeros(entropy.shape)
    weights[entropy.sort(descending=True, stable=True).indices[:count]] = 1.0
    return weights.reshape(batch.regions.shape)
