"""Rollouts of a small model without an inference engine, and one update of it: verl's GRPO advantage, its clipped
surrogate with token weights and its optimiser, in plain torch, so that the studies run without verl, on a GPU too.

What is measured of the sampling policy (log-prob, entropy, sum of squared probabilities) is taken from the logits that
each token was drawn from. tests/benchmarks/test_policy.py holds each function against verl's own, and
tests/e2e/test_one_update_on_cpu.py a whole step against stock verl's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

CLIP, DUAL_CLIP, MAX_GRAD_NORM = 0.2, 3.0, 1.0


@dataclass(frozen=True)
class Rollouts:
    """A batch of responses: B = prompts x n, the n of a prompt next to each other.

    Attributes:
        prompts: (B, P) int64, padded on the left.
        prompt_mask: (B, P) int64.
        responses: (B, T) int64, padded on the right; the token that ends a turn is part of a response.
        response_mask: (B, T) int64.
        group: (B,) int64, index of the row's prompt.
        log_probs: (B, T) float32, of the sampled tokens, nats.
        entropy: (B, T) float32, nats.
        sum_pi_squared: (B, T) float32.
    """

    prompts: Tensor
    prompt_mask: Tensor
    responses: Tensor
    response_mask: Tensor
    group: Tensor
    log_probs: Tensor
    entropy: Tensor
    sum_pi_squared: Tensor


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompts as (B, P) int64 padded on the left, and their mask."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask


def positions_of(mask: Tensor) -> Tensor:
    """Positions of the tokens of a row, from 0 at its first that is no padding: (B, L) to (B, L) int64."""
    return (mask.cumsum(dim=-1) - 1).clamp_min(0)


@torch.no_grad()
def sample(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], n: int, max_tokens: int, eos: int, pad: int, greedy: bool
) -> Rollouts:
    """Sample n responses of at most `max_tokens` tokens to each prompt (token ids) at temperature 1, or take the
    likeliest token each time."""
    ids, mask = (part.to(model.device) for part in pad_left(prompts, pad))
    how = GenerationConfig(
        do_sample=not greedy,
        **({} if greedy else {"temperature": 1.0, "top_k": 0, "top_p": 1.0}),
        num_return_sequences=n,
        max_new_tokens=max_tokens,
        eos_token_id=eos,
        pad_token_id=pad,
        output_logits=True,
        return_dict_in_generate=True,
    )
    generate: Any = model.generate  # transformers declares it as a tensor
    found = generate(ids, attention_mask=mask, generation_config=how)
    responses = found.sequences[:, ids.shape[1] :]
    ends = (responses == eos).long()
    response_mask = (ends.cumsum(dim=-1) - ends == 0).long()  # the first end of turn is generated, what follows is not
    log_p = torch.stack(found.logits, dim=1).float().log_softmax(dim=-1)
    p = log_p.exp()
    return Rollouts(
        prompts=ids.repeat_interleave(n, dim=0),
        prompt_mask=mask.repeat_interleave(n, dim=0),
        responses=responses,
        response_mask=response_mask,
        group=torch.arange(len(prompts), device=model.device).repeat_interleave(n),
        log_probs=log_p.gather(-1, responses.unsqueeze(-1)).squeeze(-1) * response_mask,
        entropy=-(p * log_p).sum(dim=-1) * response_mask,
        sum_pi_squared=p.square().sum(dim=-1) * response_mask,
    )


def response_log_probs(model: PreTrainedModel, rollouts: Rollouts) -> Tensor:
    """Log-probs of the sampled tokens under a model, with their gradient: (B, T) float32 nats; 0 after a response."""
    tokens = rollouts.responses.shape[1]
    ids = torch.cat([rollouts.prompts, rollouts.responses], dim=1)
    mask = torch.cat([rollouts.prompt_mask, rollouts.response_mask], dim=1)
    out = model(ids, attention_mask=mask, position_ids=positions_of(mask), logits_to_keep=tokens + 1, use_cache=False)
    log_p = out.logits[:, :-1].float().log_softmax(dim=-1)
    return log_p.gather(-1, rollouts.responses.unsqueeze(-1)).squeeze(-1) * rollouts.response_mask


def group_advantages(scores: Tensor, group: Tensor) -> Tensor:
    """GRPO's advantages, (score - mean) / (std + 1e-6) within the responses to a prompt: (B,) float32 from scores (B,)
    and the indices of their prompts (B,), each at least twice."""
    advantages = torch.empty_like(scores, dtype=torch.float32)
    for index in group.unique():
        rows = group == index
        advantages[rows] = (scores[rows] - scores[rows].mean()) / (scores[rows].std() + 1e-6)
    return advantages


def surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """Each token's part of the clipped surrogate with dual clip, times its weight: what a policy loss adds up. All are
    (B, T) float, advantages (B, 1) too; log-probs in nats, weights >= 0 and 0 where the mask is 0."""
    ratio = (log_probs - old_log_probs).clamp(-20.0, 20.0).exp()
    clipped = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - CLIP, 1 + CLIP))
    return torch.where(advantages < 0, torch.minimum(clipped, -advantages * DUAL_CLIP), clipped) * weights


def policy_loss(rollouts: Rollouts, log_probs: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """verl's token mean of the surrogate, from log-probs (B, T) under the model that is trained, advantages (B,), and
    weights (B, T) >= 0 that are 0 where the mask is 0."""
    parts = surrogate(log_probs, rollouts.log_probs, advantages[:, None], weights)
    return parts.sum() / rollouts.response_mask.sum()


def new_optimizer(model: PreTrainedModel, learning_rate: float) -> torch.optim.Optimizer:
    """verl's default optimiser."""
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.999), weight_decay=0.01)


def update(
    model: PreTrainedModel, optimizer: torch.optim.Optimizer, rollouts: Rollouts, advantages: Tensor, weights: Tensor
) -> float:
    """Make one update with a whole batch and return the norm of its gradient before clipping."""
    optimizer.zero_grad()
    policy_loss(rollouts, response_log_probs(model, rollouts), advantages, weights).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
    optimizer.step()
    return float(norm)
