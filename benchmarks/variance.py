"""How noisy the policy gradient is under each scheme, at several points of a GRPO run, against what V_r predicts.

At each point many batches of rollouts are drawn from one policy on one prompt set, each with a seed of its own; every
scheme weights the same batches, with the same total weight in each row.

    python benchmarks/variance.py                      # a quarter of an hour on two cores; writes docs/evidence.md
    python benchmarks/variance.py --quick --no-write   # a minute: tries all, finds nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from evidence.document import write_page
from evidence.gradients import UNIFORM, Batch, Policy, sample_gradients, scheme_settings
from evidence.loop import Plan, batches, train
from evidence.noise import inner_products
from evidence.results import write_result
from evidence.start import IMITATION_STEPS, Start, prepare_start
from evidence.variance_found import log_ratios, point_found, together
from evidence.variance_section import findings
from evidence.workers import workers
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress, TaskID
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

RUN = Plan()
POINTS, BATCHES = (0, RUN.steps * 3 // 8, RUN.steps), 48
QUICK_POINTS, QUICK_BATCHES, QUICK_IMITATION, QUICK_PLAN = (0, 2), 4, 60, replace(RUN, prompts=4)
SHARE = 4  # batches that a process draws before it hands their gradients over
PROMPT_SEED = 1_000  # the order in which the run meets its prompts is another one
FEWEST = 12  # batches: the intervals of fewer are too narrow


def steps_of(text: str) -> tuple[int, ...]:
    """Points of training from a list such as `0,6,16`."""
    try:
        points = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: give steps with commas between them, such as 0,6,16") from None
    if points[0] < 0 or points[-1] > RUN.steps:
        raise typer.BadParameter(f"{text!r}: a step lies in 0 to {RUN.steps}, the length of a run")
    return points


def seeds_of(seed: int, step: int, count: int) -> list[int]:
    """Seeds of the batches of a point."""
    return np.random.SeedSequence([seed, step]).generate_state(count, np.uint64).astype(np.int64).tolist()


def study(
    start: Start, plan: Plan, points: Sequence[int], count: int, jobs: int, seed: int, folder: Path, bars: Progress
) -> dict[str, Any]:
    """Draw and compare gradients at every point of a run of scheme `uniform`.

    Args:
        start: where the run starts.
        plan: size of its batches, which the study's have too, and the steps that schedules run in.
        points: steps, ascending.
        count: batches at each point.
        jobs: processes.
        seed: of the run and of the batches.
        folder: where the policies of the points are kept.
        bars: shows how far it is.

    Returns:
        what `evidence.variance_section` reads.
    """
    settings = scheme_settings(plan.steps)
    rows = next(batches(start.train, plan.prompts, seed + PROMPT_SEED))
    bar = bars.add_task("gradients", total=len(points) * count)
    drawn: dict[int, list[Future[list[Batch]]]] = {}
    with workers(jobs) as pool:

        def draw_at(step: int, model: PreTrainedModel) -> None:
            home = folder / f"step-{step}"
            model.save_pretrained(home / "model")
            # The prompt set is all that a process needs of the task.
            here = replace(start, folder=home, train=rows, validation=[])
            policy, seeds = Policy(here, rows, step, plan, settings), seeds_of(seed, step, count)
            parts = [seeds[begin : begin + SHARE] for begin in range(0, count, SHARE)]
            drawn[step] = [pool.submit(sample_gradients, policy, part) for part in parts]
            for future, part in zip(drawn[step], parts, strict=True):
                future.add_done_callback(partial(_advance, bars, bar, len(part)))

        if points[0] == 0:
            draw_at(0, start.new_model())
        if points[-1] > 0:
            training = bars.add_task("training", total=points[-1])

            def after(step: int, model: PreTrainedModel) -> None:
                bars.advance(training)
                if step in points:
                    draw_at(step, model)

            # Validations take part in nothing here: few and small.
            short = replace(plan, steps=points[-1], validate_every=points[-1], validation_rows=4)
            train(start, settings[UNIFORM], short, seed, on_step=after)
        found, logarithms = [], []
        for step in points:
            point = [batch for future in drawn.pop(step) for batch in future.result()]
            products = inner_products([batch.gradients for batch in point])
            parameters = point[0].gradients.shape[1]
            found.append({"step": step, **point_found(products, point)})
            logarithms.append(log_ratios(products))
    return {
        "plan": {"prompts": plan.prompts, "n": plan.n, "max_tokens": plan.max_tokens, "steps": plan.steps},
        "seed": seed,
        "batches": count,
        "parameters": parameters,
        "points": found,
        "together": {
            name: {quantity: together([point[name][quantity] for point in logarithms]) for quantity in logs}
            for name, logs in logarithms[0].items()
        },
    }


def _advance(bars: Progress, bar: TaskID, batches: int, _: Future) -> None:
    bars.advance(bar, batches)


def main(
    points: Annotated[str, typer.Option(help="Steps of the run at which to compare.")] = ",".join(map(str, POINTS)),
    batches: Annotated[int, typer.Option(min=FEWEST, help="Batches of rollouts at each point.")] = BATCHES,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the start, the run and the batches.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A start that knows little, two points, four batches.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for starts and policies.")] = Path("runs/evidence"),
    write: Annotated[bool, typer.Option(help="Write the result and docs/evidence.md.")] = True,
) -> None:
    """Measure the variance of the policy gradient."""
    steps = QUICK_POINTS if quick else steps_of(points)
    disable_progress_bar()  # transformers' own bars would tear ours
    console = Console()
    with Progress(console=Console(stderr=True)) as bars:
        imitation = QUICK_IMITATION if quick else IMITATION_STEPS
        bar = bars.add_task("start", total=imitation)
        start = prepare_start(out, seed, imitation, lambda step, *_: bars.update(bar, completed=step))
        bars.update(bar, completed=imitation)
        plan, count = (QUICK_PLAN, QUICK_BATCHES) if quick else (RUN, batches)
        torch.set_num_threads(1)  # the rest is for the processes
        folder = out / f"variance-seed{seed}-steps{imitation}"
        found = study(start, plan, steps, count, jobs, seed, folder, bars)
    console.print(Markdown("\n".join(findings(found))))
    if write:
        path = write_result("variance", found)
        write_page()
        console.print(f"written: {path} and docs/evidence.md", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
