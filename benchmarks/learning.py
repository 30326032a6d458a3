"""Does ResT learn faster? GRPO against each preset, and ablations of `paper`, from one half-trained model, by pairs of
seeds: two runs with one seed see the same prompts in the same order.

In process (`evidence/loop.py`) a run takes minutes on one core and less on a GPU; through stock verl it takes a few
minutes more, most of them start-up. tests/e2e/test_one_update_on_cpu.py holds one update of both together. Finished
runs are kept in `--out`, so that a study that was stopped goes on.

    python benchmarks/learning.py                                   # all variants, 8 seeds, two processes
    python benchmarks/learning.py --seeds 16 --variants grpo,paper
    python benchmarks/learning.py --through verl --seeds 3 --quick  # GRPO and paper, half as long
    python benchmarks/learning.py --device cuda --prompts 32 --steps 150
"""

from __future__ import annotations

import json
import os
from concurrent.futures import as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from evidence.document import write_page
from evidence.learning_section import tables
from evidence.loop import Plan, Validation, train
from evidence.results import CPU, write_result
from evidence.start import Start, prepare_start
from evidence.through_verl import train_through_verl
from evidence.variants import BASELINE, VARIANTS, composed
from evidence.workers import workers
from page import show_tables
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers.utils.logging import disable_progress_bar

from rest_verl.common.names import unknown_name
from rest_verl.config.rest import load

RESULTS = {"process": "learning", "cuda": "learning_cuda", "verl": "learning_verl"}
QUICK_VARIANTS = f"{BASELINE},paper"


def known_variants(text: str) -> list[str]:
    """Names of variants with commas between them, GRPO always among them."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in VARIANTS:
            raise typer.BadParameter(unknown_name("variant", name, VARIANTS))
    return list(dict.fromkeys([BASELINE, *names]))


def trained(home: Path, start: Start, name: str, seed: int, plan: Plan, device: str) -> dict[str, Any]:
    """One run in process; read back where an earlier study with the same plan left it in `home`."""
    kept = home / f"{name}-seed{seed}.json"
    if not kept.exists():
        settings = load(composed(VARIANTS[name], plan.steps))
        _, validations, log = train(start, settings, plan, seed, device)
        _keep(kept, name, seed, validations, mean_gradient_norm=sum(s["gradient_norm"] for s in log) / len(log))
    return json.loads(kept.read_text())


def trained_through_verl(
    home: Path, start: Start, name: str, seed: int, plan: Plan, progress: Progress
) -> dict[str, Any]:
    """One run through stock verl; read back as in `trained`."""
    kept = home / f"{name}-seed{seed}.json"
    if not kept.exists():
        before = list(progress.task_ids)
        validations = train_through_verl(VARIANTS[name], start, plan, seed, home / f"{name}-seed{seed}", progress)
        _keep(kept, name, seed, validations)
        for task in set(progress.task_ids) - set(before):  # a line for each of many runs would fill the terminal
            progress.remove_task(task)
    return json.loads(kept.read_text())


def _keep(path: Path, name: str, seed: int, validations: list[Validation], **more: float) -> None:
    """Write a run down, whole or not at all."""
    run = {"variant": name, "seed": seed, "validations": [list(asdict(one).values()) for one in validations], **more}
    half = path.with_suffix(".part")
    half.write_text(json.dumps(run))
    half.rename(path)


def main(
    through: Annotated[
        Literal["process", "verl"], typer.Option(help="In process, or through stock verl.")
    ] = "process",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 8,
    variants: Annotated[str, typer.Option(help=f"Of {', '.join(VARIANTS)}, with commas.")] = ",".join(VARIANTS),
    quick: Annotated[
        bool, typer.Option("--quick", help=f"Half the steps; the variants {QUICK_VARIANTS} unless others are named.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Updates of a run.")] = Plan.steps,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of a batch.")] = Plan.prompts,
    learning_rate: Annotated[float, typer.Option(help="Constant.")] = Plan.learning_rate,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, for runs in process.")] = os.cpu_count() or 1,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Of runs in process.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder for the start and finished runs.")] = Path("runs/evidence"),
    write: Annotated[bool, typer.Option(help="Write the result file and docs/evidence.md.")] = True,
) -> None:
    """Compare how fast GRPO and ResT learn."""
    if through == "verl" and device != "cpu":
        raise typer.BadParameter("runs through verl are on the CPU: leave out --device, or --through verl")
    form = "cuda" if device == "cuda" else through
    disable_progress_bar()  # transformers' own bars would tear ours
    plan = Plan(steps=steps, prompts=prompts, learning_rate=learning_rate)
    names = known_variants(variants)
    if quick:
        plan = replace(plan, steps=max(steps // 2, 1))
        if variants == ",".join(VARIANTS):
            names = known_variants(QUICK_VARIANTS)
    label = "-".join(f"{key}{value}" for key, value in asdict(plan).items())
    home = out.resolve() / f"learning-{through}-{device}-{label}"
    home.mkdir(parents=True, exist_ok=True)
    wanted = [(name, seed) for seed in range(seeds) for name in names]
    columns = (TextColumn("{task.description:<34}"), BarColumn(bar_width=16), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task("starting model")
        start = prepare_start(
            out, on_progress=lambda step, total, loss: progress.update(bar, completed=step, total=total)
        )
        progress.update(bar, completed=1, total=1)
        bar = progress.add_task(f"runs of {plan.steps} steps", total=len(wanted))
        found = []
        if through == "verl":
            for name, seed in wanted:
                progress.update(bar, description=f"{name}, seed {seed}")
                found.append(trained_through_verl(home, start, name, seed, plan, progress))
                progress.advance(bar)
        else:
            with workers(jobs) as pool:
                futures = [pool.submit(trained, home, start, name, seed, plan, device) for name, seed in wanted]
                for future in as_completed(futures):
                    found.append(future.result())
                    progress.advance(bar)
    if through == "verl":  # which validates on all rows that it is given
        plan = replace(plan, validation_rows=len(start.validation))
    result = {
        "through": form,
        "plan": asdict(plan),
        "variants": {name: VARIANTS[name].question for name in names},
        "runs": sorted(found, key=lambda run: (names.index(run["variant"]), run["seed"])),
    }
    if write:
        write_result(RESULTS[form], result, device_name(device))
        write_page()
    show_tables(Console(), tables(result))


def device_name(device: str) -> str:
    """What a device is called."""
    return torch.cuda.get_device_name() if device == "cuda" else CPU


if __name__ == "__main__":
    typer.run(main)
