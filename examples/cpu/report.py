"""What a run leaves for a person to look at: a table, a picture, and the table as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from rich.table import Table
from verl_run import Step

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COMPONENTS = ("score", "format", "correctness", "legal", "name", "arg_keys", "arg_values", "parse_ok", "extra_calls")
REGIONS = ("format", "name", "args", "think", "response", "other")


@dataclass(frozen=True)
class Summary:
    """The outcome of a run.

    Attributes:
        acc_before, acc_after: validation accuracy of the starting model and at the last step, in [0, 1].
        reward: validation reward by component, as [before, after]. `score`, `format` and `correctness` follow the
            dynamic schedule of the paper, so their bounds have moved in between; the others have fixed ranges.
        seconds_per_step: mean over all training steps.
    """

    preset: str
    seed: int
    steps: int
    acc_before: float
    acc_after: float
    reward: dict[str, list[float]]
    seconds_per_step: float


def summarise(run: list[Step], source: str, preset: str, seed: int) -> Summary:
    """Read the outcome off the metrics of a run that validated before training and at its last step."""
    first, last = run[0].metrics, run[-1].metrics
    seconds = [step.metrics["timing_s/step"] for step in run[1:]]
    accuracy = f"val-core/{source}/acc/mean@1"
    names = {name: f"val-aux/{source}/{name}/mean@1" for name in COMPONENTS}
    return Summary(
        preset=preset,
        seed=seed,
        steps=len(seconds),
        acc_before=first[accuracy],
        acc_after=last[accuracy],
        reward={name: [first[key], last[key]] for name, key in names.items()},
        seconds_per_step=sum(seconds) / len(seconds),
    )


def table(summary: Summary) -> Table:
    """The summary for the terminal."""
    shown = Table(
        "validation", "before", "after", title=f"{summary.preset}, seed {summary.seed}, {summary.steps} steps"
    )
    shown.add_row("[bold]accuracy", f"[bold]{summary.acc_before:.3f}", f"[bold]{summary.acc_after:.3f}")
    for name, (before, after) in summary.reward.items():
        shown.add_row(f"reward: {name}", f"{before:.3f}", f"{after:.3f}")
    shown.add_row("seconds per step", "", f"{summary.seconds_per_step:.1f}")
    return shown


def write_summary(summary: Summary, path: Path) -> None:
    """Write the summary as JSON."""
    path.write_text(json.dumps(asdict(summary), indent=2) + "\n")


def read_summary(path: Path) -> Summary | None:
    """Read a summary back; None where there is none."""
    return Summary(**json.loads(path.read_text())) if path.exists() else None


def plot(run: list[Step], source: str, path: Path) -> None:
    """Draw reward and accuracy, region entropy and region weight over the steps."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    _draw(left, run, {"training reward": "critic/score/mean"}, color="tab:gray")
    left.set(title="reward and accuracy", xlabel="step", ylabel="mean reward")
    accuracy = left.twinx()
    _draw(accuracy, run, {"training accuracy": "rest/reward/acc"}, color="tab:blue")
    _draw(accuracy, run, {"validation accuracy": f"val-core/{source}/acc/mean@1"}, color="tab:red", marker="o")
    accuracy.set(ylabel="accuracy", ylim=(0, 1))
    lines = left.get_lines() + accuracy.get_lines()
    left.legend(lines, [str(line.get_label()) for line in lines], loc="lower right")
    for axes, title, unit in (
        (middle, "entropy", "mean entropy (nats)"),
        (right, "weight", "mean token weight (row-normalised)"),
    ):
        for colour, region in enumerate(REGIONS):
            _draw(axes, run, {region: f"rest/{title}/{region}"}, color=f"C{colour}")
        axes.set(title=f"region {title}", xlabel="step", ylabel=unit)
        if not axes.get_lines():
            axes.text(0.5, 0.5, "plain GRPO does not tag regions", ha="center", transform=axes.transAxes)
    if right.get_lines():
        figure.legend(*right.get_legend_handles_labels(), loc="outside right center", title="region")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw(axes: plt.Axes, run: list[Step], series: dict[str, str], **style: Any) -> None:
    """Draw each metric over the steps that have it."""
    for label, key in series.items():
        found = [step for step in run if key in step.metrics]
        if found:
            axes.plot([step.step for step in found], [step.metrics[key] for step in found], label=label, **style)
