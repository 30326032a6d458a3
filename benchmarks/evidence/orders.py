"""Orders of three things at once, for benchmarks/parallel_calls.py: one turn of three parallel calls.

The user says what to add and what to take out; the right response reasons, then makes one call for each, in the format
rlla. The clerk that the model first imitates gets the tool, the item or the count of a call wrong at times. The score
is that of the plugin's own reward under the rules `strict`, and so is what each part earned.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from evidence.credit import ITEMS, Clerk, Shown
from evidence.policy import Rollouts, sample
from transformers import PreTrainedModel

from rest_verl.config.rest import load
from rest_verl.core.credit import Decided, Events, events_of
from rest_verl.core.tokens import TokenBytes
from rest_verl.core.tool_calls import NO_TOOLS
from rest_verl.formats import get_format
from rest_verl.reward.progress import parts_of
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import read_ground_truth

CALLS, MAX_TOKENS, MISTAKES = 3, 128, 0.25  # of each tool, item and count
STEP = 150  # at which the reward is taken: its bounds stand still

Wish = tuple[str, str, int]  # tool, item, count


def draw_wishes(rng: random.Random) -> list[Wish]:
    """Draw the wishes of one order."""
    return [
        ("remove_item" if rng.random() < 0.4 else "add_item", rng.choice(ITEMS), rng.randrange(1, 10))
        for _ in range(CALLS)
    ]


def said(wishes: Sequence[Wish]) -> str:
    """What the user says."""
    return "; ".join(
        f"add {count} {item}" if tool == "add_item" else f"take {count} {item} out" for tool, item, count in wishes
    )


def written(wishes: Sequence[Wish]) -> str:
    """The response that serves these wishes."""
    calls = [json.dumps({"name": tool, "parameters": {"item": item, "count": count}}) for tool, item, count in wishes]
    return "<think> The user lists wishes. </think>\n<tool_call>\n" + "\n".join(calls) + "\n</tool_call>"


def taught(rng: random.Random, wish: Wish) -> Wish:
    """A wish as the clerk understands it."""
    tool, item, count = wish
    other = {"add_item": "remove_item", "remove_item": "add_item"}[tool]
    return (
        other if rng.random() < MISTAKES else tool,
        rng.choice(ITEMS) if rng.random() < MISTAKES else item,
        rng.randrange(1, 10) if rng.random() < MISTAKES else count,
    )


def shown_turn(rng: random.Random) -> Shown:
    """An order, and what the clerk that is imitated writes."""
    wishes = draw_wishes(rng)
    response = written([taught(rng, wish) for wish in wishes])
    return [{"role": "user", "content": said(wishes)}], response


@dataclass(frozen=True)
class Served:
    """A batch of orders with one response each.

    Attributes:
        rollouts: the responses.
        events: what the score of each consists of.
        components: of the reward of each.
        scores, exact, legal, calls: of each response: its score, whether its calls are exactly those due, whether it
            is legal, and the number of its calls that can be read.
    """

    rollouts: Rollouts
    events: list[Events]
    components: list[dict[str, float]]
    scores: torch.Tensor
    exact: torch.Tensor
    legal: torch.Tensor
    calls: torch.Tensor


def serve(model: PreTrainedModel, clerk: Clerk, orders: Sequence[Sequence[Wish]], with_events: bool) -> Served:
    """One response to each order, sampled with torch's own seed; without events all of a score is decided last."""
    tokenizer, wire_format, reward = clerk.tokenizer, get_format("rlla"), ToolReward(load({"rest": {}}).reward)
    table = TokenBytes.from_tokenizer(tokenizer)
    prompts = [
        tokenizer.encode(
            f"<|im_start|>user\n{said(wishes)}<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False
        )
        for wishes in orders
    ]
    drawn = sample(model, prompts, 1, MAX_TOKENS, tokenizer.eos_token_id, tokenizer.pad_token_id, greedy=False)
    found: list[dict[str, float]] = []
    events = []
    for wishes, ids, mask in zip(orders, drawn.responses, drawn.response_mask.bool(), strict=True):
        raw, starts = table.gather(ids[mask].numpy())
        text, truth = raw.tobytes(), read_ground_truth(written(wishes))
        response = reward.read([text], wire_format)
        found.append(reward.score(response, truth, STEP) | {"readable": float(len(response.readable))})
        parts = parts_of(reward, [text], wire_format, NO_TOOLS, truth, STEP) if with_events else []
        decided = [
            Decided(int(np.searchsorted(starts, part.byte, side="right")) - 1, part.amount, part.ends_reasoning)
            for part in parts
        ]
        events.append(events_of(found[-1]["score"], int(mask.sum()), decided))
    columns = (torch.tensor([one[name] for one in found]) for name in ("score", "acc", "legal", "readable"))
    return Served(drawn, events, found, *columns)
