"""Does credit by turn learn a dialogue in fewer updates than one advantage for all of it? (`rest.credit=turn`)

A user fills a cart in four turns that depend on each other. The first wish names a number and a thing; later ones may
only point back ("two more", "take one of them out", "as many plums"). A turn is right if the cart is what all wishes
so far add up to, as BFCL judges: one wrong call spoils the turns after it, unless the cart comes right again. A clerk
who answers instead of calling loses the customer, and the turns that are left earn nothing. The clerk that the model
first imitates makes mistakes.

Groups are small, so that noise limits learning. A run is `STEPS` updates from one half-trained model; runs of a seed
see the same dialogues. Everything but the advantage is equal: the same score (share of turns after which the cart is
right), the same update, verl's clipping and optimiser.

Written down before the first run:
- H1: `turn` with lambda 1 needs fewer updates than `grpo` to reach the target, at GRPO's best learning rate; expected
  1.5 times fewer.
- H2: lambda 0.5 needs no more updates than lambda 1, although turns depend on each other.
- H3: at their own best learning rates the order is the same.
The target is halfway from the start to GRPO's mean end at its best rate. Runs that never reach it count as `STEPS`.

    python benchmarks/dialogues.py             # rates by 3 seeds, then 12 seeds; half an hour on two idle cores
    python benchmarks/dialogues.py --quick
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from evidence.credit import IMITATION_STEPS, ITEMS, Clerk, Shown, against_grpo, prepare_clerk, run_paired
from evidence.policy import (
    MAX_GRAD_NORM,
    Rollouts,
    group_advantages,
    new_optimizer,
    response_log_probs,
    sample,
    surrogate,
)
from harness import Fresh, Jobs, Out, Publish, Quick, Study, in_a_worker
from transformers import PreTrainedModel

from rest_verl.core.credit import events_of
from rest_verl.core.credit import group_advantages as credit_advantages

VARIANTS: dict[str, float | None] = {"grpo": None, "turn": 1.0, "turn_0.5": 0.5}  # lambda
PROMPTS, GROUP, STEPS, EVERY, VALIDATED = 4, 4, 32, 4, 64
TUNED, RATES = ("grpo", "turn"), [1e-4, 2e-4, 4e-4, 8e-4]
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


def advantages(held: Dialogues, lam: float | None) -> torch.Tensor:
    """Advantage of each turn of each dialogue, (dialogues, turns): of GRPO, or by turn with a lambda."""
    score = held.right.mean(dim=1)
    group = torch.arange(len(score)) // GROUP
    if lam is None:
        return group_advantages(score, group)[:, None].expand(-1, held.right.shape[1])
    reached = torch.zeros(len(score), dtype=torch.int64)
    for rows in held.rows:
        reached[rows] += 1
    found = torch.zeros_like(held.right)
    for start in range(0, len(score), GROUP):
        members = range(start, start + GROUP)
        # one token a turn: credit goes by turns, however long they are
        events = [
            events_of(
                float(score[row]),
                int(reached[row]),
                [(turn, float(held.right[row, turn]) / held.right.shape[1]) for turn in range(int(reached[row]))],
            )
            for row in members
        ]
        for row, values in zip(members, credit_advantages(events, lam, by_std=True), strict=True):
            found[row, : len(values)] = torch.from_numpy(values)
    return found


def run(clerk: Clerk, variant: str, rate: float, seed: int, steps: int, validated: int) -> dict[str, Any]:
    """One run: accuracy (share of right turns, sampled) before and after every `EVERY` updates."""
    in_a_worker()
    model, rng = clerk.new_model(), random.Random(seed)
    optimizer, curve = new_optimizer(model, rate), [accuracy(model, clerk, validated)]
    for step in range(1, steps + 1):
        wishes = [one for _ in range(PROMPTS) for one in [draw_wishes(rng)] * GROUP]
        torch.manual_seed(1000 * seed + step)
        held = hold(model, clerk, wishes)
        credit = advantages(held, VARIANTS[variant])
        tokens = sum(int(turn.response_mask.sum()) for turn in held.turns)
        optimizer.zero_grad()
        for number, (turn, rows) in enumerate(zip(held.turns, held.rows, strict=True)):
            log_probs, mask = response_log_probs(model, turn), turn.response_mask.float()
            (surrogate(log_probs, turn.log_probs, credit[rows, number][:, None], mask).sum() / tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        if step % EVERY == 0:
            curve.append(accuracy(model, clerk, validated))
    return {"variant": variant, "rate": rate, "seed": seed, "curve": curve}


def accuracy(model: Any, clerk: Clerk, dialogues: int) -> float:
    """Share of right turns in fixed dialogues, sampled with a fixed seed."""
    rng = random.Random(99)
    torch.manual_seed(5)
    return round(float(hold(model, clerk, [draw_wishes(rng) for _ in range(dialogues)]).right.mean()), 4)


def findings(pieces: Mapping[str, Any]) -> dict[str, Any]:
    """Updates to the target and final accuracy of each variant against GRPO (`evidence.credit`)."""
    verdicts, found = against_grpo(pieces, list(VARIANTS), TUNED, EVERY, {"lost": "lost"})
    return {"verdicts": verdicts, "tables": {"dialogues": found}}


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Paired seeds.")] = 12,
    quick: Quick = False,
    jobs: Jobs = 2,
    out: Out = Path("runs/dialogues"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Compare credit by turn with one advantage for a whole dialogue."""
    steps, validated, imitation, rates = STEPS, VALIDATED, IMITATION_STEPS, RATES
    if quick:
        out, seeds, steps, validated, imitation, rates = out / "quick", 2, EVERY, 4, 20, RATES[1:2]
    plan = {"steps": steps, "prompts": PROMPTS, "group": GROUP, "validated": validated, "imitation": imitation}
    study = Study("dialogues", plan, out, fresh=fresh)
    clerk = study.prepare("starting model", lambda _: prepare_clerk(out, shown_turn, imitation))

    def work(name: str, rate: float, seed: int) -> Callable[[], Any]:
        return partial(run, clerk, name, rate, seed, steps, validated)

    run_paired(study, work, list(VARIANTS), TUNED, rates, seeds, jobs)
    study.finish(findings(study.pieces), publish)


if __name__ == "__main__":
    typer.run(main)
