"""What the studies of credit share: the half-trained model that they start from, and variants of a run against GRPO by
paired seeds.

The model is a clerk who has begun to imitate responses that are wrong at times. Learning rates are searched first, by
a few seeds, and all variants are run at GRPO's best. The target is halfway from the start to GRPO's mean end at that
rate; a run that never reaches it counts with all of its updates.

A piece is what one run returned: `variant`, `rate`, `seed`, and `curve`, a validation before and after every so many
updates. The baseline's variant is called `grpo`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness  # noqa: F401  (puts the CPU examples on the path)
import numpy as np
import tiny_model
from evidence.intervals import difference_interval, ratio_interval
from harness import Study, table
from page_numbers import shown
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

ITEMS = ("apple", "pear", "plum", "fig", "lemon", "melon", "grape", "kiwi", "peach", "mango", "date", "lime")
VOCABULARY, DEMONSTRATIONS, IMITATION_STEPS = 480, 6000, 900
TUNING_SEEDS = 3

Shown = tuple[list[dict[str, str]], str]  # messages up to the user's last, and the clerk's response


@dataclass(frozen=True)
class Clerk:
    """The model in a folder, and its tokenizer."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast

    def new_model(self) -> PreTrainedModel:
        """A fresh copy, in float32."""
        return AutoModelForCausalLM.from_pretrained(self.folder / "model", dtype="float32", attn_implementation="sdpa")


def prepare_clerk(folder: Path, show: Callable[[random.Random], Shown], steps: int = IMITATION_STEPS) -> Clerk:
    """Train the starting model on what `show` draws, or read the one that an earlier run left in this folder."""
    home = (folder / f"clerk-{steps}").resolve()
    if not (home / "model" / "config.json").exists():
        rng = random.Random(0)
        demonstrations = [show(rng) for _ in range(DEMONSTRATIONS)]
        texts = [text for messages, said in demonstrations for text in (messages[-1]["content"], said)]
        tokenizer = tiny_model.train_tokenizer(texts, VOCABULARY)
        model = tiny_model.new_model(tokenizer, seed=0)
        tiny_model.train_model(model, tokenizer, demonstrations, steps=steps, seed=0)
        tiny_model.save(model, tokenizer, home / "model")
    return Clerk(home, PreTrainedTokenizerFast.from_pretrained(home / "model"))


def run_paired(
    study: Study,
    run: Callable[[str, float, int], Callable[[], Any]],
    variants: Sequence[str],
    tuned: Sequence[str],
    rates: Sequence[float],
    seeds: int,
    jobs: int,
    sound: Callable[[Mapping[str, Any]], bool] = lambda run: True,
) -> None:
    """Do the pieces of a study: `tuned` at all rates by a few seeds, then all variants at GRPO's best rate and each of
    `tuned` at its own.

    Args:
        study: it gets the pieces.
        run: from a variant, a rate and a seed to the work of one piece.
        variants: all of them, `grpo` among them.
        tuned: those whose rate is searched.
        rates: what is searched.
        seeds: number of paired seeds.
        jobs: number of processes.
        sound: whether a run speaks for its rate (`best_rate`).
    """

    def work(names: Sequence[str], at: Collection[float], count: int) -> dict[str, Callable[[], Any]]:
        return {
            f"{name}/{rate:g}/{seed}": run(name, rate, seed) for seed in range(count) for rate in at for name in names
        }

    study.run(work(tuned, rates, min(TUNING_SEEDS, seeds)), jobs)
    base = best_rate(study.pieces, "grpo", sound)
    own = {name: dict.fromkeys((base, best_rate(study.pieces, name, sound))) for name in tuned}
    wanted = work(variants, [base], seeds)
    for name, at in own.items():
        wanted |= work([name], list(at), seeds)
    study.run(wanted, jobs)


def against_grpo(
    pieces: Mapping[str, Any],
    variants: Sequence[str],
    tuned: Sequence[str],
    every: int,
    columns: Mapping[str, str],
    counts: Mapping[str, Callable[[Mapping[str, Any]], bool]] | None = None,
    sound: Callable[[Mapping[str, Any]], bool] = lambda run: True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Updates to the target and final accuracy of each variant against GRPO: `at_grpos` at GRPO's best rate, `at_own`
    at the variant's own against GRPO at its best.

    Args:
        pieces: of a study.
        variants, tuned: as for `run_paired`.
        every: updates between validations.
        columns: further columns of the table: their headings, and the names of their numbers.
        counts: numbers besides `lost`, the runs that end below their start: their names, and which runs count.
        sound: as for `run_paired`.

    Returns:
        the verdicts, and their table.
    """
    base, all_counts = best_rate(pieces, "grpo", sound), {"lost": _ends_below_its_start} | dict(counts or {})

    def runs(name: str, rate: float) -> list[Any]:
        return [one for one in pieces.values() if (one["variant"], one["rate"]) == (name, rate)]

    def curves(name: str, rate: float) -> dict[int, list[float]]:
        return {one["seed"]: one["curve"] for one in runs(name, rate)}

    grpo = curves("grpo", base)
    start, end = np.mean([curve[0] for curve in grpo.values()]), np.mean([curve[-1] for curve in grpo.values()])
    target = float(start + end) / 2
    rows, verdicts = [], {}
    for name in variants:
        own = best_rate(pieces, name, sound) if name in tuned else base
        by_rate = {
            where: compared(curves(name, rate), grpo, target, every)
            | {"rate": rate}
            | {number: sum(map(counted, runs(name, rate))) for number, counted in all_counts.items()}
            for where, rate in ({"at_grpos": base} | ({"at_own": own} if own != base else {})).items()
        }
        verdicts[name.replace(".", "_")] = by_rate
        for one in by_rate.values():
            cells = [shown(one["times_fewer"], ".2f"), f"{one['final']:.3f}", shown(one["final_minus_grpo"], "+.3f")]
            cells += [str(one[number]) for number in columns.values()]
            rows.append([name, f"{one['rate']:g}", one["seeds"], f"{one['updates']:.1f}", *cells])
    head = ["credit", "rate", "seeds", f"updates to {target:.3f}", "times fewer", "final", "final minus GRPO's"]
    return {"target": target, "start": float(start), "of": verdicts}, table([*head, *columns], rows)


def _ends_below_its_start(run: Mapping[str, Any]) -> bool:
    return run["curve"][-1] < run["curve"][0]


def steps_to(curve: Sequence[float], target: float, every: int) -> float:
    """Updates until a target, with a straight line between validations; all of them where it is never reached."""
    if curve[0] >= target:
        return 0.0
    for number, (before, after) in enumerate(pairwise(curve)):
        if after >= target:
            return every * (number + (target - before) / (after - before))
    return float(every * (len(curve) - 1))


def best_rate(
    pieces: Mapping[str, Any], variant: str, sound: Callable[[Mapping[str, Any]], bool] = lambda run: True
) -> float:
    """The rate with the highest mean accuracy over training, by the seeds that all rates have; among those at which
    all these runs are sound, or the lowest rate where there is none."""
    runs = [one for one in pieces.values() if one["variant"] == variant and one["seed"] < TUNING_SEEDS]
    by_rate = {rate: [one for one in runs if one["rate"] == rate] for rate in sorted({one["rate"] for one in runs})}
    safe = [rate for rate, found in by_rate.items() if all(map(sound, found))] or list(by_rate)[:1]
    return max(safe, key=lambda rate: np.mean([np.mean(one["curve"]) for one in by_rate[rate]]))


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
        "final_minus_grpo": difference_interval(final, others).verdict(),
    }
