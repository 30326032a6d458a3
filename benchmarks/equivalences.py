"""Does ResT with uniform weights train exactly as stock verl does, and is an update the same however a batch is split?

Every run is stock verl, Ray and vLLM on a CPU, from one small model, with rollouts that are the same token for token
(benchmarks/trust/seeded.py says how). What is compared is every parameter of the trained models. A stock run comes
first twice: if those two differed, the rest would say nothing. Finished runs are kept in `--out`, so that a study that
was stopped goes on.

    python benchmarks/equivalences.py                    # an hour and a half on two cores
    python benchmarks/equivalences.py --only grpo,uniform
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from transformers.utils.logging import disable_progress_bar
from trust.group import Group, publish
from trust.pairs import PAIRS, RUNS, Pair, Run
from trust.runs import CHECKPOINTS, RECIPE, of_start, parameters, prepare_start, seeded_rollouts, trained_model
from trust.stock_reward import REPORT
from verl_run import RunFailed, read_metrics, run_verl

TIMEOUT_SECONDS = 900.0
HEAD = ["one run", "another run", "steps", "largest difference", "as a share of training", "allowed", "metrics", ""]
ABOUT = """\
Pairs of trainings by stock verl's V1 trainer from one model, with rollouts that are the same token for token
([`seeded.py`](../benchmarks/trust/seeded.py)), and every parameter of the trained models compared. "Stock" is verl
without ResT; "uniform" is ResT with weight 1 for every token. Where nothing is allowed to differ, the models must be
the same in every bit, and so must all `rest/*` metrics of steps that both logged. "As a share of training" is the norm
of the difference by the norm of what training changed. verl's estimators `gdpo`, `remax` and the optimal baselines are
missing: its V1 trainer does not hand them what they take, and they are refused at start-up. A rollout is trained on
once, and twice where the run says so and with the losses gspo, clip_cov and cispo: gradients of losses differ, and
ratios are clipped, only where the policy has moved on.
Both asynchronous trainers run in every test of this project
([`test_recipes_on_cpu.py`](../tests/e2e/test_recipes_on_cpu.py))."""


def folder_of(out: Path, name: str) -> Path:
    """Where a run of RUNS is kept."""
    return out / name.replace(" ", "-").replace(",", "")


def overrides_of(run: Run, start: Path, folder: Path) -> list[str]:
    """Everything that a run asks of verl; its own settings come last, for the last of a key holds."""
    return [
        *RECIPE,
        *of_start(start),
        *seeded_rollouts(folder),
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        f"trainer.save_freq={run.resumed_at or run.steps}",
        f"trainer.default_local_dir={folder.resolve() / CHECKPOINTS}",
        *run.overrides,
    ]


def train(name: str, start: Path, out: Path, progress: Progress) -> dict[str, str]:
    """Train one of RUNS, once: what went wrong as `failed`, or nothing."""
    run, folder = RUNS[name], folder_of(out, name)
    kept = folder / "finished.json"
    if not kept.exists():
        overrides = overrides_of(run, start, folder)
        found: dict[str, str] = {}
        before = list(progress.task_ids)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # of a run that was stopped
        try:
            with environment(run.plugin, folder / "plugin.txt"):
                for steps in (run.resumed_at, run.steps):
                    if steps:
                        run_verl(overrides, folder, steps, progress, TIMEOUT_SECONDS)
            check_plugin(run, folder / "plugin.txt")
        except RunFailed as failure:
            found["failed"] = str(failure).splitlines()[-1]
        for task in set(progress.task_ids) - set(before):  # lines for each of many runs would fill the terminal
            progress.remove_task(task)
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())


@contextmanager
def environment(plugin: bool, report: Path) -> Iterator[None]:
    """What verl's processes find in their environment: whether they load plugins, and where the reward of a run
    without ResT writes which plugin it found."""
    variables = {REPORT: str(report.resolve())}
    if not plugin:
        # Only the CPU platform, without which stock verl runs on no CPU.
        variables |= {"VERL_USE_EXTERNAL_PLUGINS": "none", "VERL_USE_EXTERNAL_MODULES": "rest_verl.cpu.cpu"}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def check_plugin(run: Run, report: Path) -> None:
    """Whether a run without ResT had the plugin in its processes, or had it not, as it was to."""
    if report.exists() and (report.read_text() == "with") != run.plugin:
        raise RunFailed(f"it ran {report.read_text()} the plugin")


def difference(pair: Pair, start: Path, out: Path) -> tuple[float, float]:
    """How far the models of a pair lie apart: (largest difference of a parameter, norm of the difference as a share of
    the norm of what training changed)."""
    before = parameters(start / "model")
    left, right = (
        parameters(trained_model(folder_of(out, name), RUNS[name].steps)) for name in (pair.left, pair.right)
    )
    moved = (left - before).norm()
    if not moved > 0:
        raise RunFailed(f"{pair.left} did not train: its model is the one it started from")
    return float((left - right).abs().max()), float((left - right).norm() / moved)


def metrics_apart(pair: Pair, out: Path) -> float | None:
    """Largest difference of a `rest/*` metric that both runs of a pair logged for a step; None where they have none in
    common."""
    left, right = (
        {
            (step.step, name): value
            for step in read_metrics(folder_of(out, run) / "metrics.jsonl")
            for name, value in step.metrics.items()
            if name.startswith("rest/")
        }
        for run in (pair.left, pair.right)
    )
    return max((abs(left[key] - right[key]) for key in left.keys() & right.keys()), default=None)


def row_of(pair: Pair, failed: dict[str, str], start: Path, out: Path) -> tuple[list[str], bool]:
    """The line of a pair, and whether it held."""
    steps = str(RUNS[pair.left].steps)
    if reasons := [f"{name} did not run: {failed[name]}" for name in (pair.left, pair.right) if name in failed]:
        return [pair.left, pair.right, steps, "", "", "", "", "; ".join(reasons)], False
    metrics = metrics_apart(pair, out)
    largest, share = difference(pair, start, out)
    held = share <= pair.bound and (pair.bound > 0 or not metrics)
    verdict = ("identical" if largest == 0 else "held") if held else "**differs**"
    allowed = f"{pair.bound:g}" if pair.bound else "nothing"
    apart = "" if metrics is None else f"{metrics:.2g}"
    return [pair.left, pair.right, steps, f"{largest:.2g}", f"{share:.2g}", allowed, apart, verdict], held


def known_pairs(only: str) -> list[Pair]:
    """The pairs of which a run's name contains one of the texts with commas between them; all for no text."""
    texts = [text.strip() for text in only.split(",") if text.strip()]
    found = [pair for pair in PAIRS if not texts or any(text in pair.left + "|" + pair.right for text in texts)]
    if not found:
        raise typer.BadParameter(f"no run has {only!r} in its name: there are {'; '.join(RUNS)}")
    return found


def main(
    only: Annotated[
        str, typer.Option(help="Only pairs with one of these texts, commas between; nothing is written.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/trust/equivalences"),
    write: Annotated[bool, typer.Option(help="Write the result file and docs/trust.md.")] = True,
) -> None:
    """Compare trainings that must come to the same model."""
    disable_progress_bar()  # transformers' own bars would tear ours
    pairs = known_pairs(only)
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.left, pair.right)))
    failed: dict[str, str] = {}
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("runs", total=len(names))
        start = prepare_start(out.parent)
        for name in names:
            progress.update(bar, description=name)
            if reason := train(name, start, out, progress).get("failed"):
                failed[name] = reason
            progress.advance(bar)
    lines = [row_of(pair, failed, start, out) for pair in pairs]
    held = sum(held for _, held in lines)
    publish(
        Group(
            name="equivalences",
            title="Equivalences",
            about=ABOUT,
            head=HEAD,
            rows=[row for row, _ in lines],
            notes=[f"{held} of {len(lines)} pairs held."],
            failures=len(lines) - held,
        ),
        write and not only,
    )
    raise typer.Exit(int(held < len(lines)))


if __name__ == "__main__":
    typer.run(main)
