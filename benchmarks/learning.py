"""Does ResT learn faster? GRPO against each preset, and ablations of `paper`, from one half-trained model, by pairs of
seeds: two runs with one seed see the same prompts in the same order.

In process (evidence/loop.py) a run takes minutes on one core and less on a GPU; through stock verl it takes a few
minutes more, most of them start-up. tests/e2e/test_one_update_on_cpu.py compares one update of both.

    python benchmarks/learning.py                                   # all variants, 8 seeds, two processes
    python benchmarks/learning.py --seeds 16 --variants grpo,paper
    python benchmarks/learning.py --through verl --seeds 3 --steps 8 --variants grpo,paper
    python benchmarks/learning.py --device cuda --prompts 32 --steps 48
    python benchmarks/learning.py --quick                           # two minutes: tries everything, decides nothing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
import typer
from evidence.intervals import difference_interval
from evidence.loop import IMITATION_STEPS, Plan, Start, Validation, prepare_start, train
from evidence.task import SOURCE, UNSEEN_SOURCE
from evidence.variants import BASELINE, VARIANTS, composed, overrides
from harness import Fresh, Jobs, Out, Publish, Quick, Study, in_a_worker, known, save_picture, table
from page_numbers import shown
from trust import runs
from verl_run import Step

from rest_verl.common.figures import new_figure
from rest_verl.config.rest import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = "paper"  # what ablations are compared with
QUICK_VARIANTS, QUICK_SEEDS, QUICK_IMITATION = f"{BASELINE},{REFERENCE}", 2, 20
MAX_PROMPT, TIMEOUT_SECONDS = 160, 1800.0
QUANTITIES = {"final": "final accuracy", "final_unseen": "unseen combinations", "mean": "mean over training"}
# Paul Tol's bright scheme, which the colour-blind can tell apart, and the grey of a baseline.
COLOURS, GREY = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377"), "#555555"


@dataclass(frozen=True)
class Run:
    """A run of the study: the validations are in order of their steps, the first of them before training."""

    variant: str
    seed: int
    validations: Sequence[Validation]

    @property
    def final(self) -> float:
        return self.validations[-1].accuracy

    @property
    def final_unseen(self) -> float:
        return self.validations[-1].unseen

    @property
    def mean(self) -> float:
        """Mean accuracy over training: the area under the curve by the share of training, by trapezoids."""
        steps = [one.step for one in self.validations]
        return float(np.trapezoid([one.accuracy for one in self.validations], steps) / steps[-1])


def read_runs(pieces: Mapping[str, Any]) -> list[Run]:
    """The runs of a result file."""
    return [
        Run(one["variant"], one["seed"], [Validation(*row) for row in one["validations"]]) for one in pieces.values()
    ]


def of_variant(runs: Sequence[Run], variant: str) -> dict[int, Run]:
    """The runs of a variant by seed, in order."""
    return {run.seed: run for run in sorted(runs, key=lambda run: run.seed) if run.variant == variant}


def differences(runs: Sequence[Run], variant: str, against: str) -> dict[str, Any]:
    """Of each quantity, the mean over seeds of one variant minus the other, with its verdict. A seed that only one of
    them has is left out."""
    ours, theirs = of_variant(runs, variant), of_variant(runs, against)
    pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    return {
        name: difference_interval(*([getattr(pair[side], name) for pair in pairs] for side in (0, 1))).verdict()
        for name in QUANTITIES
    }


def verdicts(runs: Sequence[Run]) -> dict[str, Any]:
    """Of each variant its differences to GRPO, and of each ablation those to `paper`."""
    names = {run.variant for run in runs}
    found: dict[str, Any] = {"minus_grpo": {}, "minus_paper": {}}
    for name, variant in VARIANTS.items():
        if name in names and name != BASELINE:
            found["minus_grpo"][name] = differences(runs, name, BASELINE)
            if variant.question and REFERENCE in names:
                found["minus_paper"][name] = differences(runs, name, REFERENCE)
    return found


def tables(found: Mapping[str, Any]) -> dict[str, Any]:
    """The differences that `verdicts` found."""
    return {
        against: table(
            [against.replace("_", " "), *QUANTITIES.values()],
            [
                [f"{name}: {VARIANTS[name].question}" if against == "minus_paper" else name]
                + [shown(one[quantity], "+.3f") for quantity in QUANTITIES]
                for name, one in of_variants.items()
            ],
        )
        for against, of_variants in found.items()
        if of_variants
    }


def figure_of(runs: Sequence[Run]) -> Figure:
    """Accuracy over steps: mean and, as a band, its standard error; presets on the left, ablations on the right."""
    there = [name for name in VARIANTS if of_variant(runs, name) and name != BASELINE]
    panels = [[name for name in there if bool(VARIANTS[name].question) is asked] for asked in (False, True)]
    panels = [panel for panel in panels if panel]
    figure = new_figure(5.0 * len(panels), 4.0)
    axes: Sequence[Axes] = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for name, colour in [(BASELINE, GREY), *zip(panel, COLOURS, strict=False)]:
            ours = list(of_variant(runs, name).values())
            steps = [validation.step for validation in ours[0].validations]
            values = np.array([[validation.accuracy for validation in run.validations] for run in ours])
            mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(max(len(ours) - 1, 1))
            axis.plot(steps, mean, color=colour, label=name, linewidth=2 if name == BASELINE else 1.4)
            axis.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
        axis.set_xlabel("step")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("validation accuracy")
    return figure


def in_process(start: Start, name: str, seed: int, plan: Plan, device: str) -> dict[str, Any]:
    """One run in process."""
    _, validations, norms = train(start, load(composed(VARIANTS[name], plan.steps)), plan, seed, device)
    return {**_record(name, seed, validations), "mean_gradient_norm": sum(norms) / len(norms)}


def through_verl(start: Start, name: str, seed: int, plan: Plan, study: Study) -> dict[str, Any]:
    """The same run through stock verl. Raises `RunFailed`."""
    given, folder = verl_overrides(name, start, plan, seed), study.path.parent / f"{name}-seed{seed}"
    steps = runs.train(given, folder, plan.steps, study.progress, TIMEOUT_SECONDS)
    validations = [read_validation(one) for one in steps if f"val-core/{SOURCE}/acc/mean@1" in one.metrics]
    return _record(name, seed, validations)


def verl_overrides(name: str, start: Start, plan: Plan, seed: int) -> list[str]:
    """Hydra overrides of verl's main for a run of the study: one update with the whole batch in each step."""
    return [
        *overrides(VARIANTS[name], plan.steps),
        "+platform=cpu",
        *runs.of_start(start.folder),
        f"data.train_batch_size={plan.prompts}",
        f"data.max_prompt_length={MAX_PROMPT}",
        f"data.max_response_length={plan.max_tokens}",
        f"data.seed={seed}",
        f"actor_rollout_ref.rollout.n={plan.n}",
        f"actor_rollout_ref.rollout.seed={seed}",
        f"actor_rollout_ref.rollout.max_model_len={MAX_PROMPT + plan.max_tokens}",
        "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
        "actor_rollout_ref.rollout.max_num_seqs=256",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=64",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={plan.prompts}",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64",
        f"actor_rollout_ref.actor.optim.lr={plan.learning_rate}",
        f"trainer.test_freq={plan.validate_every}",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]


def read_validation(step: Step) -> Validation:
    """A validation as verl logged it; there are as many unseen rows as seen ones."""
    seen, unseen = (step.metrics[f"val-core/{source}/acc/mean@1"] for source in (SOURCE, UNSEEN_SOURCE))
    return Validation(step.step, (seen + unseen) / 2, unseen)


def _record(name: str, seed: int, validations: Sequence[Validation]) -> dict[str, Any]:
    rows = [[one.step, one.accuracy, one.unseen] for one in validations]
    return {"variant": name, "seed": seed, "validations": rows}


def main(
    through: Annotated[
        Literal["process", "verl"], typer.Option(help="Train in process or through stock verl.")
    ] = "process",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 8,
    variants: Annotated[
        str, typer.Option(help=f"Variants with commas between them: {', '.join(VARIANTS)}.")
    ] = ",".join(VARIANTS),
    quick: Quick = False,
    steps: Annotated[int, typer.Option(min=1, help="Updates of a run.")] = Plan.steps,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of a batch.")] = Plan.prompts,
    jobs: Jobs = 2,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device of runs in process.")] = "cpu",
    out: Out = Path("runs/learning"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Compare how fast GRPO and ResT learn."""
    if through == "verl" and device != "cpu":
        raise typer.BadParameter("runs through verl are on the CPU: leave out --device, or --through verl")
    plan, imitation = Plan(steps=steps, prompts=prompts), IMITATION_STEPS
    names = known(f"{BASELINE},{variants}", "variant", list(VARIANTS))
    if quick:
        out, seeds, imitation = out / "quick", QUICK_SEEDS, QUICK_IMITATION
        plan = replace(plan, steps=2, prompts=4, validate_every=1, validation_rows=16)
        names = known(QUICK_VARIANTS, "variant", list(VARIANTS))
    if through == "verl":  # which validates on all rows that it is given
        plan = replace(plan, validation_rows=256)
    suffix = "_verl" if through == "verl" else "_cuda" if device == "cuda" else ""
    on = torch.cuda.get_device_name() if device == "cuda" else ""
    study = Study(f"learning{suffix}", {**asdict(plan), "imitation_steps": imitation}, out, fresh=fresh, device=on)
    start = study.prepare("starting model", partial(prepare_start, out, 0, imitation))
    in_a_worker()  # the other threads are for the processes
    pairs = [(name, seed) for seed in range(seeds) for name in names]
    if through == "verl":
        study.run({f"{name}/{seed}": partial(through_verl, start, name, seed, plan, study) for name, seed in pairs})
    else:
        study.run(
            {f"{name}/{seed}": partial(in_process, start, name, seed, plan, device) for name, seed in pairs}, jobs
        )
    done = read_runs(study.pieces)
    found, picture = verdicts(done), f"evidence_learning{suffix or '_process'}"
    study.finish(
        {"verdicts": found, "tables": tables(found)},
        publish and not quick,
        lambda _: save_picture(figure_of(done), picture),
    )


if __name__ == "__main__":
    typer.run(main)
