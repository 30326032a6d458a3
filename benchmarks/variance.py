"""How noisy the policy gradient is under each scheme, at several points of a GRPO run, against what V_r predicts.

At each point many batches of rollouts are drawn from one policy on one prompt set, each with a seed of its own; every
scheme weights the same batches, with the same total weight in each row.

    python benchmarks/variance.py              # a quarter of an hour on two cores
    python benchmarks/variance.py --quick      # a minute: tries everything, decides nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import typer
from evidence.gradients import UNIFORM, Batch, Policy, sample_gradients, scheme_settings
from evidence.loop import IMITATION_STEPS, Plan, Start, batches, prepare_start, train
from evidence.noise import inner_products, point_found, ratio_verdict
from harness import Fresh, Jobs, Out, Publish, Quick, Study, save_picture, seeds, table, workers
from page_numbers import shown
from transformers import PreTrainedModel

from rest_verl.common.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN = Plan()
POINTS, BATCHES = (0, RUN.steps * 3 // 8, RUN.steps), 48
QUICK_POINTS, QUICK_BATCHES, QUICK_IMITATION, QUICK_RUN = (0, 2), 4, 20, replace(RUN, prompts=4)
SHARE = 4  # batches that a process draws before it hands their gradients over
SEED, PROMPT_SEED = 0, 1_000  # the order in which the run meets its prompts is another one
# Predictions of the trace: by the mean of V in a token's region, or by its own.
PREDICTIONS = {"region": "V_r, A", "token": "V_t, A"}


def save_policies(start: Start, plan: Plan, points: Sequence[int], folder: Path) -> None:
    """Train with uniform weights and save the model of each point; nothing where an earlier run has."""
    if all((folder / f"step-{step}" / "model" / "config.json").exists() for step in points):
        return

    def save(step: int, model: PreTrainedModel) -> None:
        if step in points:
            model.save_pretrained(folder / f"step-{step}" / "model")

    save(0, start.new_model())
    # Validations take part in nothing here: few and small.
    short = replace(plan, steps=points[-1], validate_every=points[-1], validation_rows=4)
    train(start, scheme_settings(plan.steps)[UNIFORM], short, SEED, on_step=save)


def at_point(step: int, start: Start, plan: Plan, count: int, jobs: int, folder: Path) -> dict[str, Any]:
    """Draw and compare gradients at one point of the run: what `evidence.noise.point_found` returns."""
    rows = next(batches(start.train, plan.prompts, PROMPT_SEED))
    # The prompt set is all that a process needs of the task.
    here = replace(start, folder=folder / f"step-{step}", train=rows, validation=[])
    policy, drawn = Policy(here, rows, step, plan, scheme_settings(plan.steps)), seeds(count, SEED, step)
    parts = [drawn[begin : begin + SHARE] for begin in range(0, count, SHARE)]
    with workers(jobs) as pool:
        found: list[Batch] = [one for part in pool.map(partial(sample_gradients, policy), parts) for one in part]
    return {"step": step, **point_found(inner_products([batch.gradients for batch in found]), found)}


def together(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each scheme, its variance and signal to noise over those of uniform weights, over all points."""
    found: dict[str, Any] = {}
    for name in points[0]["logarithms"]:
        pseudo = {kind: [point["logarithms"][name][kind] for point in points] for kind in ("trace", "snr")}
        found[name] = {
            kind: ratio_verdict([None if one is None else np.array(one) for one in many])
            for kind, many in pseudo.items()
        }
    return found


def verdicts(points: Sequence[dict[str, Any]], of_schemes: dict[str, Any]) -> dict[str, Any]:
    """What the study decides: of each scheme what `together` found and how well its variance is predicted; of each
    point whether the entropies of regions have the paper's order, and the share of variance between regions."""
    found = {
        name: {**one, "predicted": {kind: predicted(name, kind, points) for kind in PREDICTIONS}}
        for name, one in of_schemes.items()
    }
    between = {
        str(point["step"]): 1.0 - sum(share["estimate"] for share in point["trace_shares"].values())
        for point in points
    }
    orders = {str(point["step"]): order(point["order"]) for point in points}
    return {"schemes": found, "order": orders, "between_regions": between}


def predicted(scheme: str, kind: str, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How a prediction of a scheme's variance did: its least and most relative error, and whether it lay on the right
    side of uniform at every point."""
    at = [(one["predicted"][kind], one["trace_ratio"]) for one in (point["schemes"][scheme] for point in points)]
    off = [value / ratio["estimate"] - 1 for value, ratio in at if ratio["estimate"]]
    right = all(ratio["verdict"] == ("above" if value > 1.0 else "below") for value, ratio in at)
    return {"least": min(off, default=None), "most": max(off, default=None), "right_side": right}


def order(pairs: dict[str, dict[str, Any] | None]) -> str:
    """Whether entropies rise from region to region as the paper says: `holds`, `does not hold` or `undecided`."""
    sides = [pair["verdict"] if pair else "undecided" for pair in pairs.values()]
    return "does not hold" if "below" in sides else "undecided" if "undecided" in sides else "holds"


def tables(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The table of schemes."""
    rows = []
    for point in points:
        for name, one in point["schemes"].items():
            if name == UNIFORM:
                ratios = [f"1 ({one['trace']['estimate']:.3g})", f"1 ({shown(one['snr'], '.3f')})"]
            else:
                ratios = [shown(one[kind], ".2f") for kind in ("trace_ratio", "snr_ratio")]
            cosines = [shown(one[kind], ".2f") for kind in ("cosine", "cosine_uniform")]
            rows.append([point["step"], f"{point['accuracy']:.0%}", f"`{name}`", *ratios, *cosines])
    head = ["updates", "right", "scheme", "variance", "signal to noise", "cosine", "cosine to uniform's mean"]
    return {"schemes": table(head, rows)}


def figure_of(points: Sequence[dict[str, Any]]) -> Figure:
    """One panel a point: each scheme's ratio with its interval, and two predictions next to it."""
    from matplotlib.ticker import LogLocator

    figure = new_figure(3.2 * len(points) + 0.6, 3.6)
    axes = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
    for axis, point in zip(axes, points, strict=True):
        schemes = {name: one for name, one in point["schemes"].items() if name != UNIFORM}
        axis.axhline(1.0, color="#555555", linewidth=1)
        known = [(at, one["trace_ratio"]) for at, one in enumerate(schemes.values()) if one["trace_ratio"]["estimate"]]
        places = [at for at, _ in known]
        ratios = np.reshape([[one[end] for end in ("estimate", "low", "high")] for _, one in known], (-1, 3)).T
        spread = [ratios[0] - ratios[1], ratios[2] - ratios[0]]
        axis.errorbar(places, ratios[0], spread, fmt="o", color="#4477AA", capsize=4, label="measured")
        drawn = (("region", "D", "#EE6677", 0.2), ("token", "x", "#228833", 0.35))
        for kind, marker, colour, shift in drawn:
            values = [one["predicted"][kind] for one in schemes.values()]
            where, label = np.arange(len(values)) + shift, f"from {PREDICTIONS[kind]}"
            axis.plot(where, values, marker, color=colour, markersize=5, label=label)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.tick_params(which="both", labelsize=8)
        axis.set_xticks(range(len(schemes)), list(schemes), rotation=20)
        axis.set_title(f"after {point['step']} updates", fontsize=10)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("variance / that of uniform weights")
    axes[0].legend(fontsize=8)
    return figure


def draw(result: dict[str, Any]) -> None:
    """Write the study's figure."""
    save_picture(figure_of(list(result["pieces"].values())), "evidence_variance")


def main(
    jobs: Jobs = 2,
    quick: Quick = False,
    out: Out = Path("runs/variance"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure the variance of the policy gradient."""
    points: Sequence[int] = QUICK_POINTS if quick else POINTS
    plan, count, imitation = (QUICK_RUN, QUICK_BATCHES, QUICK_IMITATION) if quick else (RUN, BATCHES, IMITATION_STEPS)
    out = out / "quick" if quick else out
    whole = {**asdict(plan), "seed": SEED, "batches": count, "imitation_steps": imitation}
    study = Study("variance", whole, out, fresh=fresh)
    start = study.prepare("starting model", partial(prepare_start, out, SEED, imitation))
    torch.set_num_threads(1)  # the rest is for the processes
    folder = out.resolve() / "policies"
    save_policies(start, plan, points, folder)
    work = {f"after {step} updates": partial(at_point, step, start, plan, count, jobs, folder) for step in points}
    found = list(study.run(work).values())
    study.finish({"verdicts": verdicts(found, together(found)), "tables": tables(found)}, publish and not quick, draw)


if __name__ == "__main__":
    typer.run(main)
