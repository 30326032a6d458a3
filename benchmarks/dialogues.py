"""Does credit by turn learn a dialogue in fewer updates than one advantage for all of it? (`rest.credit=turn`)

Four user turns that depend on each other, of which a wrong one spoils the next and a needless answer ends the dialogue
(evidence/dialogue.py); small groups, so that noise limits learning. A run is `STEPS` updates from one half-trained
model; runs of a seed see the same dialogues. Everything but the advantage is equal: the same score (share of turns
after which the cart is right), the same update, verl's clipping and optimiser.

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

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from evidence.clerk import IMITATION_STEPS, Clerk, prepare_clerk
from evidence.dialogue import Dialogues, draw_wishes, hold, shown_turn
from evidence.policy import (
    MAX_GRAD_NORM,
    group_advantages,
    new_optimizer,
    response_log_probs,
    surrogate,
)
from evidence.rates import against_grpo, run_paired
from harness import Fresh, Jobs, Out, Publish, Quick, Study, in_a_worker

from rest_verl.core.credit import events_of
from rest_verl.core.credit import group_advantages as credit_advantages

VARIANTS: dict[str, float | None] = {"grpo": None, "turn": 1.0, "turn_0.5": 0.5}  # lambda
PROMPTS, GROUP, STEPS, EVERY, VALIDATED = 4, 4, 32, 4, 64
TUNED, RATES = ("grpo", "turn"), [1e-4, 2e-4, 4e-4, 8e-4]


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
    """Updates to the target and final accuracy of each variant against GRPO (`evidence.rates`)."""
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
