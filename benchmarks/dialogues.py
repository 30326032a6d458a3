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
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from evidence.dialogue import IMITATION_STEPS, Clerk, Dialogues, draw_wishes, hold, prepare_clerk
from evidence.intervals import difference_interval, ratio_interval
from evidence.policy import (
    MAX_GRAD_NORM,
    group_advantages,
    new_optimizer,
    response_log_probs,
    surrogate,
)
from harness import Fresh, Jobs, Out, Publish, Quick, Study, in_a_worker, table
from page_numbers import shown

from rest_verl.core.credit import events_of
from rest_verl.core.credit import group_advantages as credit_advantages

VARIANTS: dict[str, float | None] = {"grpo": None, "turn": 1.0, "turn_0.5": 0.5}  # lambda
RATES: tuple[float, ...] = (1e-4, 2e-4, 4e-4, 8e-4)
PROMPTS, GROUP, STEPS, EVERY, VALIDATED = 4, 4, 32, 4, 64
TUNING_SEEDS, TUNED = 3, ("grpo", "turn")


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


def steps_to(curve: Sequence[float], target: float, every: int = EVERY) -> float:
    """Updates until a target, with a straight line between validations; all of them where it is never reached."""
    if curve[0] >= target:
        return 0.0
    for number, (before, after) in enumerate(pairwise(curve)):
        if after >= target:
            return every * (number + (target - before) / (after - before))
    return float(every * (len(curve) - 1))


def best_rate(pieces: Mapping[str, Any], variant: str) -> float:
    """The rate with the highest mean accuracy over training, by the seeds that all rates have."""
    means = {
        rate: np.mean(
            [np.mean(one["curve"]) for one in pieces.values() if one["variant"] == variant and one["rate"] == rate][
                :TUNING_SEEDS
            ]
        )
        for rate in sorted({one["rate"] for one in pieces.values() if one["variant"] == variant})
    }
    return max(means, key=lambda rate: means[rate])


def findings(pieces: Mapping[str, Any]) -> dict[str, Any]:
    """Updates to the target and final accuracy of each variant against GRPO: `at_grpos` at GRPO's best rate, `at_own`
    at the variant's own against GRPO at its own."""
    base = best_rate(pieces, "grpo")
    own = {name: best_rate(pieces, name) if name in TUNED else base for name in VARIANTS}
    curves = {(one["variant"], one["rate"], one["seed"]): one["curve"] for one in pieces.values()}

    def at(name: str, rate: float) -> dict[int, list[float]]:
        return {seed: curve for (found, of, seed), curve in curves.items() if (found, of) == (name, rate)}

    grpo = at("grpo", base)
    start, end = np.mean([curve[0] for curve in grpo.values()]), np.mean([curve[-1] for curve in grpo.values()])
    target = float(start + end) / 2
    rows, verdicts = [], {}
    for name in VARIANTS:
        rates = {"at_grpos": base} | ({"at_own": own[name]} if own[name] != base else {})
        by_rate = {
            where: compared(at(name, rate), grpo, target, EVERY) | {"rate": rate} for where, rate in rates.items()
        }
        verdicts[name.replace(".", "_")] = by_rate
        for one in by_rate.values():
            cells = [shown(one["times_fewer"], ".2f"), f"{one['final']:.3f}", shown(one["final_minus_grpo"], "+.3f")]
            cells.append(str(one["lost"]))
            rows.append([name, f"{one['rate']:g}", one["seeds"], f"{one['updates']:.1f}", *cells])
    head = [
        "credit",
        "rate",
        "seeds",
        f"updates to {target:.3f}",
        "times fewer",
        "final",
        "final minus GRPO's",
        "lost",
    ]
    found = {"target": target, "start": float(start), "of": verdicts}
    return {"verdicts": found, "tables": {"dialogues": table(head, rows)}}


def compared(
    ours: Mapping[int, Sequence[float]], grpo: Mapping[int, Sequence[float]], target: float, every: int
) -> dict[str, Any]:
    """Updates to the target and final accuracy of one variant against GRPO, from the curves of each seed, with a
    validation after `every` updates, over the seeds that both have."""
    seeds = sorted(ours.keys() & grpo.keys())
    updates = [steps_to(ours[seed], target, every) for seed in seeds]
    final, others = [ours[seed][-1] for seed in seeds], [grpo[seed][-1] for seed in seeds]
    return {
        "seeds": len(seeds),
        "updates": float(np.mean(updates)),
        # at least half an update: a quick form may begin above its target
        "times_fewer": ratio_interval(
            [steps_to(grpo[seed], target, every) for seed in seeds], [max(one, 0.5) for one in updates]
        ).verdict(1.0),
        "final": float(np.mean(final)),
        "lost": sum(ours[seed][-1] < ours[seed][0] for seed in seeds),  # runs that end below where they began
        "final_minus_grpo": difference_interval(final, others).verdict(),
    }


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
    clerk = study.prepare("starting model", lambda _: prepare_clerk(out, imitation))

    def work(names: Sequence[str], at: Sequence[float], count: int) -> dict[str, Any]:
        return {
            f"{name}/{rate:g}/{seed}": partial(run, clerk, name, rate, seed, steps, validated)
            for seed in range(count)
            for rate in at
            for name in names
        }

    study.run(work(TUNED, rates, min(TUNING_SEEDS, seeds)), jobs)
    base = best_rate(study.pieces, "grpo")
    own = {name: dict.fromkeys((base, best_rate(study.pieces, name))) for name in TUNED}
    wanted = work(list(VARIANTS), [base], seeds)
    for name, at in own.items():
        wanted |= work([name], list(at), seeds)
    study.run(wanted, jobs)
    study.finish(findings(study.pieces), publish)


if __name__ == "__main__":
    typer.run(main)
