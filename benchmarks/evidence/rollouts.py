"""Rollouts of a small model without an inference engine: a batch sampled with the model's own cache, and the log-probs
of a batch under a model.

What is measured of the sampling policy (log-prob, entropy, sum of squared probabilities) is taken from the logits that
each token was drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

# When fewer of the rows in the cache are still being written, those that have ended are taken out of it.
KEPT_SHARE = 0.7


@dataclass(frozen=True)
class Rollouts:
    """A batch of responses: B = prompts x n, the n of a prompt side by side.

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
    """Sample n responses to each prompt at temperature 1; without a generator take the likeliest token each time.

    Args:
        model: a causal language model; its device is where everything is made.
        prompts: token ids.
        n: responses to a prompt.
        max_tokens: after so many a response is cut off.
        eos_id: ends a response.
        pad_id: fills up prompts and responses.
        generator: on the model's device; the responses depend on its state and the weights alone.
    """
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
    used = at + 1
    log_probs, entropy, sum_pi_squared = measured[:, :, :used]
    return Rollouts(
        prompts=ids,
        prompt_mask=mask,
        responses=responses[:, :used],
        response_mask=response_mask[:, :used],
        group=torch.arange(len(prompts), device=device).repeat_interleave(n),
        log_probs=log_probs,
        entropy=entropy,
        sum_pi_squared=sum_pi_squared,
    )


def response_log_probs(model: PreTrainedModel, rollouts: Rollouts) -> Tensor:
    """Log-probs of the sampled tokens under a model, with their gradient: (B, T) float32 nats; 0 behind a response."""
    tokens = rollouts.responses.shape[1]
    ids = torch.cat([rollouts.prompts, rollouts.responses], dim=1)
    mask = torch.cat([rollouts.prompt_mask, rollouts.response_mask], dim=1)
    out = model(ids, attention_mask=mask, position_ids=positions_of(mask), logits_to_keep=tokens + 1, use_cache=False)
    log_p = out.logits[:, :-1].float().log_softmax(dim=-1)
    return log_p.gather(-1, rollouts.responses.unsqueeze(-1)).squeeze(-1) * rollouts.response_mask
