"""Does credit by span learn parallel calls in fewer updates than one advantage for the whole response?
(`rest.credit=span`)

One turn of three parallel calls (evidence/orders.py), with groups so small that noise limits learning: 2 prompts x 4
responses an update. A run is `STEPS` updates from one half-trained model; runs of a seed see the same orders.
Everything but the advantage is equal: the plugin's own score under `strict`, the same update, verl's clipping and
optimiser.

Written down before the first run:
- H1: at GRPO's best learning rate `span` with lambda 0.5 needs fewer updates than `grpo` until as many responses are
  exactly right as the target says; expected 1.3 times fewer, as in a trial.
- H2: lambda 1, which is unbiased, needs no more updates than `grpo`.
- H3: lambda 0 needs no more updates than 0.5, because the calls do not depend on each other.
- H4: runs that lose whole lines (a validation with more than a tenth of responses illegal or with a call missing) are
  as frequent with lambda 1 as with `grpo`, and more frequent with lambda below 1.
The target is halfway from the start to GRPO's mean end at its best rate. Runs that never reach it count as `STEPS`.

    python benchmarks/spans.py             # rates by 3 seeds, then 12 seeds; half an hour on two idle cores
    python benchmarks/spans.py --quick
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
from evidence.orders import CALLS, Served, draw_wishes, serve, shown_turn
from evidence.policy import MAX_GRAD_NORM, group_advantages, new_optimizer, response_log_probs, surrogate
from evidence.rates import RATES, against_grpo, run_paired
from harness import Fresh, Jobs, Out, Publish, Quick, Study, in_a_worker

from rest_verl.core.credit import group_advantages as credit_advantages
from rest_verl.core.credit import token_advantages

VARIANTS: dict[str, float | None] = {"grpo": None, "span": 1.0, "span_0.8": 0.8, "span_0.5": 0.5, "span_0": 0.0}
PROMPTS, GROUP, STEPS, EVERY, VALIDATED = 2, 4, 48, 8, 128
TUNED = ("grpo", "span_0.5")
LOST = 0.1  # share of responses of a validation that are illegal or lack a call


def advantages(served: Served, lam: float | None) -> torch.Tensor:
    """Advantage of each token, (responses, tokens): of GRPO, or by span with a lambda."""
    mask = served.rollouts.response_mask
    found = torch.zeros(mask.shape)
    if lam is None:
        return found + group_advantages(served.scores, torch.arange(len(mask)) // GROUP)[:, None]
    for start in range(0, len(mask), GROUP):
        events = served.events[start : start + GROUP]
        for row, (one, values) in enumerate(zip(events, credit_advantages(events, lam, by_std=True), strict=True)):
            tokens = token_advantages(one, values)
            found[start + row, : len(tokens)] = torch.from_numpy(tokens).float()
    return found


def run(clerk: Clerk, variant: str, rate: float, seed: int, steps: int, validated: int) -> dict[str, Any]:
    """One run: before and after every `EVERY` updates, the share of exactly right responses and of those that lost a
    line, sampled."""
    in_a_worker()
    lam = VARIANTS[variant]
    model, rng = clerk.new_model(), random.Random(seed)
    optimizer = new_optimizer(model, rate)
    curve, lost = ([one] for one in validate(model, clerk, validated))
    for step in range(1, steps + 1):
        orders = [one for _ in range(PROMPTS) for one in [draw_wishes(rng)] * GROUP]
        torch.manual_seed(1000 * seed + step)
        served = serve(model, clerk, orders, with_events=lam is not None)
        log_probs, mask = response_log_probs(model, served.rollouts), served.rollouts.response_mask.float()
        parts = surrogate(log_probs, served.rollouts.log_probs, advantages(served, lam), mask)
        optimizer.zero_grad()
        (parts.sum() / mask.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        if step % EVERY == 0:
            right, without = validate(model, clerk, validated)
            curve.append(right)
            lost.append(without)
    return {"variant": variant, "rate": rate, "seed": seed, "curve": curve, "lines_lost": lost}


def validate(model: Any, clerk: Clerk, orders: int) -> tuple[float, float]:
    """Share of exactly right responses, and of those that are illegal or lack a call, to fixed orders, sampled with a
    fixed seed."""
    rng = random.Random(99)
    torch.manual_seed(5)
    served = serve(model, clerk, [draw_wishes(rng) for _ in range(orders)], with_events=False)
    lost = (served.legal == 0) | (served.calls < CALLS)
    return round(float(served.exact.mean()), 4), round(float(lost.float().mean()), 4)


def findings(pieces: Mapping[str, Any]) -> dict[str, Any]:
    """Updates to the target and final accuracy of each variant against GRPO (`evidence.rates`), and the runs that lose
    lines in any validation after the start, and in the last."""
    columns = {"lose lines": "runs_that_lose_lines", "end so": "end_with_lines_lost"}
    counts: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "runs_that_lose_lines": lambda run: max(run["lines_lost"][1:]) > LOST,
        "end_with_lines_lost": lambda run: run["lines_lost"][-1] > LOST,
    }
    verdicts, found = against_grpo(pieces, list(VARIANTS), TUNED, EVERY, columns, counts)
    return {"verdicts": verdicts, "tables": {"spans": found}}


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Paired seeds.")] = 12,
    quick: Quick = False,
    jobs: Jobs = 2,
    out: Out = Path("runs/spans"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Compare credit by span with one advantage for a whole response."""
    steps, validated, imitation, rates = STEPS, VALIDATED, IMITATION_STEPS, RATES
    if quick:
        out, seeds, steps, validated, imitation, rates = out / "quick", 2, EVERY, 4, 20, RATES[1:2]
    plan = {"steps": steps, "prompts": PROMPTS, "group": GROUP, "validated": validated, "imitation": imitation}
    study = Study("spans", plan, out, fresh=fresh)
    clerk = study.prepare("starting model", lambda _: prepare_clerk(out, shown_turn, imitation))

    def work(name: str, rate: float, seed: int) -> Callable[[], Any]:
        return partial(run, clerk, name, rate, seed, steps, validated)

    run_paired(study, work, list(VARIANTS), TUNED, rates, seeds, jobs)
    study.finish(findings(study.pieces), publish)


if __name__ == "__main__":
    typer.run(main)
