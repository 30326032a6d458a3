"""The summary of a run: a table, and the table as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table
from verl_run import Step

COMPONENTS = ("score", "format", "correctness", "legal", "name", "arg_keys", "arg_values", "parse_ok", "extra_calls")


@dataclass(frozen=True)
class Summary:
    """The outcome of a run.

    Attributes:
        acc_before, acc_after: validation accuracy of the starting model and at the last step, in [0, 1].
        reward: validation reward by component, as [before, after]. `score`, `format` and `correctness` follow the
            paper's dynamic schedule, so their bounds change in between; the others have fixed ranges.
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
    """Summarise the metrics of a run that validated before training and at its last step."""
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
    """Read a summary; None if there is none."""
    return Summary(**json.loads(path.read_text())) if path.exists() else None
