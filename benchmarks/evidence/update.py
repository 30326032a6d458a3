"""One update of the policy: verl's GRPO advantage, its clipped surrogate with token weights, and its optimiser,
written out in plain torch so that the studies run where verl is not, on a GPU too.

`tests/evidence/test_update_against_verl.py` holds each function against verl's own, and
`tests/e2e/test_one_update_on_cpu.py` a whole step against stock verl's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from evidence.rollouts import Rollouts, response_log_probs

CLIP, DUAL_CLIP, MAX_GRAD_NORM = 0.2, 3.0, 1.0


def group_advantages(scores: Tensor, group: Tensor) -> Tensor:
    """GRPO's advantages, (score - mean) / (std + 1e-6) within the responses to a prompt.

    Args:
        scores: (B,) float.
        group: (B,) int64, each index at least twice.

    Returns:
        (B,) float32.
    """
    advantages = torch.empty_like(scores, dtype=torch.float32)
    for index in group.unique():
        rows = group == index
        advantages[rows] = (scores[rows] - scores[rows].mean()) / (scores[rows].std() + 1e-6)
    return advantages


def surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """Each token's part of the clipped surrogate with dual clip, times its weight: what a policy loss adds up.

    Args:
        log_probs, old_log_probs: (B, T) float, nats.
        advantages: (B, 1) or (B, T) float.
        weights: (B, T) float >= 0, 0 where the mask is 0.

    Returns:
        (B, T) float.
    """
    ratio = (log_probs - old_log_probs).clamp(-20.0, 20.0).exp()
    clipped = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - CLIP, 1 + CLIP))
    return torch.where(advantages < 0, torch.minimum(clipped, -advantages * DUAL_CLIP), clipped) * weights


def micro_batches(rollouts: Rollouts, rows: int) -> Iterator[tuple[Tensor, Rollouts]]:
    """Split a batch into parts of similar length without the padding that none of their rows needs, each with the
    indices of its rows."""
    lengths = rollouts.prompt_mask.sum(dim=-1) + rollouts.response_mask.sum(dim=-1)
    for index in lengths.argsort().split(rows):
        part = {name: value[index] for name, value in vars(rollouts).items()}
        prompt, response = (int(part[name].sum(dim=-1).max()) for name in ("prompt_mask", "response_mask"))
        for name, value in part.items():
            if name.startswith("prompt"):
                part[name] = value[:, -prompt:]
            elif name != "group":
                part[name] = value[:, :response]
        yield index, Rollouts(**part)


def policy_gradient(
    model: PreTrainedModel, rollouts: Rollouts, advantages: Tensor, weights: Tensor, rows: int = 32
) -> float:
    """Add the gradient of the policy loss (verl's token mean) to the model's, and return the loss.

    Args:
        model: the policy.
        rollouts: a batch.
        advantages: (B,) float.
        weights: (B, T) float >= 0, 0 where the mask is 0.
        rows: of a micro-batch.
    """
    tokens, total = rollouts.response_mask.sum(), 0.0
    for index, part in micro_batches(rollouts, rows):
        width = part.responses.shape[1]
        log_probs = response_log_probs(model, part)
        loss = surrogate(log_probs, part.log_probs, advantages[index, None], weights[index, :width]).sum() / tokens
        loss.backward()
        total += loss.item()
    return total


def new_optimizer(model: PreTrainedModel, learning_rate: float) -> torch.optim.Optimizer:
    """verl's default optimiser."""
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.999), weight_decay=0.01)


def update(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    rollouts: Rollouts,
    advantages: Tensor,
    weights: Tensor,
    rows: int = 32,
) -> float:
    """Make one update with a whole batch and return the norm of its gradient before clipping."""
    optimizer.zero_grad()
    policy_gradient(model, rollouts, advantages, weights, rows)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
    optimizer.step()
    return float(norm)
