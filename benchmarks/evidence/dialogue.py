"""Dialogues of several user turns that depend on each other, for benchmarks/dialogues.py: a user fills a cart.

The first wish names a number and a thing; later ones may only point back ("two more", "take one of them out", "as many
plums"). A turn is right if the cart is what all wishes so far add up to, as BFCL judges: one wrong call spoils the
turns after it, unless the cart comes right again. A clerk who answers instead of calling loses the customer, and the
turns that are left earn nothing. The clerk that the model first imitates makes mistakes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass

import torch
from evidence.clerk import ITEMS, Clerk, Shown
from evidence.policy import Rollouts, sample
from transformers import PreTrainedModel

TURNS, MAX_TOKENS = 4, 48
MISTAKES, LEAVES = 0.4, 0.08  # shares of the clerk's turns
END = "<|im_end|>"


@dataclass(frozen=True)
class Wish:
    """What a user says, and the change of the cart that is meant; a negative count takes things out."""

    said: str
    item: str
    count: int


def draw_wishes(rng: random.Random) -> list[Wish]:
    """Draw the wishes of one dialogue."""
    wishes: list[Wish] = []
    in_cart: Counter[str] = Counter()
    for _ in range(TURNS):
        item, count, kind = rng.choice(ITEMS), rng.randrange(1, 10), rng.random()
        last = wishes[-1] if wishes else None
        if last is None or kind < 0.4:
            wish = Wish(f"Add {count} {item}.", item, count)
        elif kind < 0.6:
            wish = Wish(f"And {count} more of them.", last.item, count)
        elif kind < 0.8 and in_cart[last.item] > 0:
            taken = rng.randrange(1, in_cart[last.item] + 1)
            wish = Wish(f"Take {taken} of them out.", last.item, -taken)
        else:
            wish = Wish(f"As many {item}.", item, abs(last.count))
        in_cart[wish.item] += wish.count
        wishes.append(wish)
    return wishes


def call_of(item: str, count: int) -> str:
    """The clerk's turn that changes the cart."""
    name = "add_item" if count > 0 else "remove_item"
    call = json.dumps({"name": name, "parameters": {"item": item, "count": abs(count)}})
    return f"<tool_call>\n{call}\n</tool_call>"


def taught(rng: random.Random, wish: Wish) -> str:
    """The turn of the clerk that the model imitates."""
    if rng.random() < LEAVES:
        return "<response> We are closed. </response>"
    if rng.random() >= MISTAKES:
        return call_of(wish.item, wish.count)
    if rng.random() < 0.5:
        return call_of(wish.item, rng.randrange(1, 10) * (1 if wish.count > 0 else -1))
    return call_of(rng.choice(ITEMS), wish.count)


def change_of(text: str) -> tuple[str, int] | None:
    """The change of the cart that a turn makes; None where it calls nothing that can be read."""
    inner = text.partition("<tool_call>")[2].partition("</tool_call>")[0]
    try:
        call = json.loads(inner)
        count = call["parameters"]["count"] * {"add_item": 1, "remove_item": -1}[call["name"]]
        return call["parameters"]["item"], count
    except (ValueError, KeyError, TypeError):
        return None


def shown_turn(rng: random.Random) -> Shown:
    """A dialogue up to one of its turns, and what the clerk that is imitated writes there."""
    wishes = draw_wishes(rng)
    messages: list[dict[str, str]] = []
    told = rng.randrange(TURNS)
    for wish in wishes[:told]:
        said = {"role": "user", "content": wish.said}
        messages += [said, {"role": "assistant", "content": call_of(wish.item, wish.count)}]
    messages.append({"role": "user", "content": wishes[told].said})
    return messages, taught(rng, wishes[told])


@dataclass(frozen=True)
class Dialogues:
    """A batch of dialogues.

    Attributes:
        turns: rollouts of each turn, over the dialogues that reached it.
        rows: the dialogues that reached each turn.
        right: (dialogues, TURNS), whether the cart was right after each turn; 0 for turns that were not reached.
    """

    turns: list[Rollouts]
    rows: list[list[int]]
    right: torch.Tensor


def hold(model: PreTrainedModel, clerk: Clerk, wishes: list[list[Wish]]) -> Dialogues:
    """Hold one dialogue for each list of wishes; the policy is sampled with torch's own seed."""
    tokenizer = clerk.tokenizer
    seen: list[list[int]] = [[] for _ in wishes]
    carts, wanted = [Counter[str]() for _ in wishes], [Counter[str]() for _ in wishes]
    rows, found = list(range(len(wishes))), Dialogues([], [], torch.zeros(len(wishes), TURNS))
    for turn in range(TURNS):
        for row in rows:
            text = f"<|im_start|>user\n{wishes[row][turn].said}{END}\n<|im_start|>assistant\n"
            seen[row] = seen[row] + tokenizer.encode(text, add_special_tokens=False)
        prompts = [seen[row] for row in rows]
        drawn = sample(model, prompts, 1, MAX_TOKENS, tokenizer.eos_token_id, tokenizer.pad_token_id, greedy=False)
        found.turns.append(drawn)
        found.rows.append(rows)
        stay = []
        for row, ids, mask in zip(rows, drawn.responses, drawn.response_mask.bool(), strict=True):
            said = ids[mask].tolist()
            closing = [] if said and said[-1] == tokenizer.eos_token_id else [tokenizer.eos_token_id]
            seen[row] = seen[row] + said + closing + tokenizer.encode("\n", add_special_tokens=False)
            change = change_of(str(tokenizer.decode(said)))
            wanted[row][wishes[row][turn].item] += wishes[row][turn].count
            if change is not None:
                carts[row][change[0]] += change[1]
                stay.append(row)
                found.right[row, turn] = float(+carts[row] == +wanted[row])
        rows = stay
        if not rows:
            break
    return found
