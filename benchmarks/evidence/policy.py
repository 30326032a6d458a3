"""Rollouts of a small model without an inference engine, and one update of it: verl's GRPO advantage, its clipped
surrogate with token weights and its optimiser, in plain torch, so that the studies run without verl, on a GPU too.

What is measured of the sampling policy (log-prob, entropy, sum of squared probabilities) is taken from the logits that
each token was drawn from. tests/benchmarks/test_policy.py holds each function against verl's own, and
tests/e2e/test_one_update_on_cpu.py a whole step against stock verl's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

# When fewer of the rows in the cache are still being written, those that have ended are taken out of it.
KEPT_SHARE = 0.7
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
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    n: int,
    max_tokens: int,
    eos_id: int,
    pad_id: int,
    generator: torch.Generator | None,
) -> Rollouts:
    """Sample n responses of at most `max_tokens` tokens to each prompt (token ids) at temperature 1, with a generator
    on the model's device; without one take the likeliest token each time."""
    device = model.device
    ids, mask = (part.to(device) for part in pad_left(prompts, pad_id))
    cache = DynamicCache(config=model.config)
    out = model(ids, attention_mask=mask, position_ids=positions_of(mask), past_key_values=cache, logits_to_keep=1)
    cache.batch_repeat_interleave(n)
    logits = out.logits[:, -1].repeat_interleave(n, dim=0)
    ids, mask = ids.repeat_interleave(n, dim=0), mask.repeat_interleave(n, dim=0)
    seen, position = mask, mask.sum(dim=-1, keepdim=True)
    responses = torch.full((len(ids), max_tokens), pad_id, device=device)
    response_mask = torch.zeros_like(responses)
    measured = torch.zeros(3, *responses.shape, device=device)
    rows = torch.arange(len(ids), device=device)  # which the cache still holds
    alive = torch.ones_like(rows, dtype=torch.bool)
    for at in range(max_tokens):
        log_p = logits.float().log_softmax(dim=-1)
        p = log_p.exp()
        token = log_p.argmax(dim=-1, keepdim=True) if generator is None else p.multinomial(1, generator=generator)
        now = torch.stack([log_p.gather(1, token).squeeze(1), -(p * log_p).sum(dim=-1), p.square().sum(dim=-1)])
        responses[rows[alive], at] = token[alive, 0]
        response_mask[rows[alive], at] = 1
        measured[:, rows[alive], at] = now[:, alive]
        alive = alive & (token[:, 0] != eos_id)
        if not alive.any():
            break
        if alive.float().mean() < KEPT_SHARE:
            kept = alive.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            rows, token, seen, position, alive = (part[kept] for part in (rows, token, seen, position, alive))
        seen = torch.cat([seen, seen.new_ones(len(seen), 1)], dim=1)
        out = model(token, attention_mask=seen, position_ids=position, past_key_values=cache)
        logits, position = out.logits[:, -1], position + 1
    group = torch.arange(len(prompts), device=device).repeat_interleave(n)
    log_probs, entropy, squares = measured[:, :, : at + 1]
    responses, response_mask = responses[:, : at + 1], response_mask[:, : at + 1]
    return Rollouts(ids, mask, responses, response_mask, group, log_probs, entropy, squares)


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
    """Add the gradient of the policy loss (verl's token mean) to the model's, in micro-batches of `rows` rows, and
    return the loss. Advantages are (B,), weights (B, T) >= 0 and 0 where the mask is 0."""
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
