"""Many policy gradients of one policy on one prompt set: a batch of rollouts, then the gradient of the same loss under
each scheme and of each region's part of it.

Weights are those of step 1 of a run, where the schemes stress structure. A batch stands for the first of its run, so
the moving averages of `entropy` are what the batch itself measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from evidence.loop import Plan, Scorer, Start, draw
from evidence.policy import Rollouts, group_advantages, policy_loss, response_log_probs
from evidence.variants import BASELINE, VARIANTS, composed
from torch import Tensor
from toy_task import Row
from transformers import PreTrainedModel

from rest_verl.config.rest import RestConfig, load
from rest_verl.core.entropy import variance_exact
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

UNIFORM = "uniform"
SCHEMES = (UNIFORM, "paper", "entropy", "token_low", "token_high")
VECTORS = (*SCHEMES, *(region.label for region in Region))
WEIGHTS_STEP = 1


@dataclass(frozen=True)
class Policy:
    """A policy and what is asked of it."""

    start: Start  # where its model and tokenizer are
    rows: list[Row]  # the prompt set
    updates: int  # made so far; the reward is that of the next one
    plan: Plan  # size of a batch, and the steps that schedules run in
    settings: Mapping[str, RestConfig]  # of each scheme; the reward is the same in all


@dataclass(frozen=True)
class Batch:
    """What one batch of rollouts gives. A region's place is its number.

    Attributes:
        gradients: (len(VECTORS), D) float32, of all parameters; the regions' parts add up to that of `uniform`.
        tokens: (len(Region),) float64.
        entropy: (len(Region),) float64, sum over tokens, nats.
        variance: (len(Region),) float64, sum over tokens of V.
        squares: (2, len(SCHEMES), len(Region)) float64, sums over tokens of w^2 A^2 and w^2 A^2 V, divided by the
            square of the batch's tokens, as the loss's mean is.
        accuracy: share of right responses.
    """

    gradients: np.ndarray
    tokens: np.ndarray
    entropy: np.ndarray
    variance: np.ndarray
    squares: np.ndarray
    accuracy: float


def scheme_settings(steps: int) -> dict[str, RestConfig]:
    """Settings of each scheme in a run of `steps` steps."""
    variants = {name: VARIANTS[BASELINE if name == UNIFORM else name] for name in SCHEMES}
    return {name: load(composed(variant, steps)) for name, variant in variants.items()}


def sample_gradients(policy: Policy, seeds: Sequence[int]) -> list[Batch]:
    """Draw a batch for each seed and take its gradients."""
    model = policy.start.new_model()
    scorer = Scorer(policy.start, policy.settings[UNIFORM])
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        rollouts = draw(model, policy.start, policy.rows, policy.plan.n, policy.plan.max_tokens)
        components = scorer.components(rollouts, policy.rows, policy.updates + 1)
        advantages = group_advantages(torch.tensor([part["score"] for part in components]), rollouts.group)
        tagged = scorer.tagged(rollouts)
        weights = scheme_weights(policy, tagged, rollouts)
        parts = region_masks(tagged)
        # The gradient of `uniform` is the sum of its regions': one backward pass fewer.
        gradients = weighted_gradients(model, rollouts, advantages, torch.cat([weights[1:], parts]))
        uniform = gradients[-len(Region) :].sum(axis=0, keepdims=True)
        variance = variance_exact(rollouts.sum_pi_squared)
        found.append(
            Batch(
                np.concatenate([uniform, gradients]),
                tokens=_by_region(parts, torch.ones_like(variance)),
                entropy=_by_region(parts, rollouts.entropy),
                variance=_by_region(parts, variance),
                squares=squared_weights(weights, advantages, variance, parts),
                accuracy=float(np.mean([part["acc"] for part in components])),
            )
        )
    return found


def scheme_weights(policy: Policy, tagged: TaggedBatch, rollouts: Rollouts) -> Tensor:
    """Token weights of each scheme, of equal total: (len(SCHEMES), B, T) float32."""
    weightings = [TokenWeighting(policy.settings[name], policy.plan.steps) for name in SCHEMES]
    return torch.stack([weighting(StepBatch(WEIGHTS_STEP, tagged, rollouts.entropy)) for weighting in weightings])


def region_masks(tagged: TaggedBatch) -> Tensor:
    """1 where a generated token belongs to the region: (len(Region), B, T) float32."""
    return torch.stack([(tagged.regions == region) & tagged.generated for region in Region]).float()


def weighted_gradients(model: PreTrainedModel, rollouts: Rollouts, advantages: Tensor, weights: Tensor) -> np.ndarray:
    """The gradient of the policy loss with each of several weights (K, B, T) of one batch: (K, D) float32, all
    parameters one after another. The model runs forward once."""
    parameters, log_probs, found = list(model.parameters()), response_log_probs(model, rollouts), []
    for weight in weights:
        loss = policy_loss(rollouts, log_probs, advantages, weight)
        parts = torch.autograd.grad(loss, parameters, retain_graph=True)
        found.append(torch.cat([part.flatten() for part in parts]).numpy())
    return np.stack(found)


def squared_weights(weights: Tensor, advantages: Tensor, variance: Tensor, parts: Tensor) -> np.ndarray:
    """What predicts the variance of the gradient, `Batch.squares`, from weights (S, B, T), advantages (B,), V of each
    token (B, T) and the masks of `region_masks`."""
    squares = (weights.double() * advantages.double()[:, None] / parts.double().sum()).square()
    return torch.einsum("ksbt,rbt->ksr", torch.stack([squares, squares * variance]), parts.double()).numpy()


def _by_region(parts: Tensor, values: Tensor) -> np.ndarray:
    return torch.einsum("rbt,bt->r", parts.double(), values.double()).numpy()
