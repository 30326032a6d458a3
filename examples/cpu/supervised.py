"""A short supervised start: a pretrained model imitates right answers, and continues where it was stopped.

Weights and optimizer are kept in float32; where the processor has it, the forward and backward passes are in bf16.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tiny_model import batches, imitation_loss
from training_state import State

Pair = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Start:
    """Settings of a supervised start.

    Attributes:
        steps: updates.
        batch_size: answers an update.
        at_a_time: answers in one forward and backward pass, which bounds the memory.
        learning_rate: of AdamW, after the warm-up.
        warmup: updates until then.
        save_every: updates between saved states.
        seed: of the order of the answers.
    """

    steps: int
    batch_size: int = 8
    at_a_time: int = 2
    learning_rate: float = 2e-4
    warmup: int = 5
    save_every: int = 5
    seed: int = 0


def imitate(
    model: Any,
    pairs: Sequence[Pair],
    pad_id: int,
    start: Start,
    saved: Path,
    low_precision: bool,
    on_progress: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """Train a model in place on (prompt ids, response ids); return the loss of each step, counted from the first run.

    Args:
        model: a causal language model in float32.
        pairs: what to imitate.
        pad_id: id that fills up a batch.
        start: the settings.
        saved: file of the saved state; if it is there, training continues from it.
        low_precision: compute in bf16.
        on_progress: called with the number of steps done and the last loss.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=start.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    state = State(model, optimizer)
    if saved.exists():
        state.load(saved)
        on_progress(len(state.losses), state.losses[-1])
    model.train()
    order = batches(
        [len(prompt) + len(answer) for prompt, answer in pairs], start.batch_size, random.Random(start.seed)
    )
    for batch in islice(order, len(state.losses), start.steps):
        for group in state.optimizer.param_groups:
            group["lr"] = start.learning_rate * min((len(state.losses) + 1) / start.warmup, 1)
        state.optimizer.zero_grad()
        chosen = [pairs[index] for index in batch]
        tokens, total = sum(len(answer) for _, answer in chosen), 0.0
        for begin in range(0, len(chosen), start.at_a_time):
            part = chosen[begin : begin + start.at_a_time]
            # One context a pass: a context around the loop would keep the first copies of the weights in its cache.
            with torch.autocast(model.device.type, torch.bfloat16, enabled=low_precision, cache_enabled=False):
                loss = imitation_loss(model, part, pad_id) * (sum(len(answer) for _, answer in part) / tokens)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        state.optimizer.step()
        state.losses.append(total)
        on_progress(len(state.losses), state.losses[-1])
        if len(state.losses) % start.save_every == 0 or len(state.losses) == start.steps:
            state.save(saved)
    model.eval()
    return state.losses
