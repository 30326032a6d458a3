"""Tables of a run with multi-turn rollouts: the validation metrics, and the rollout metrics of each step."""

from rich.console import Console
from rich.table import Table
from verl_run import Step

# heading -> metric
SHOWN = {
    "reward": "critic/score/mean",
    "share": "rest/reward/share",
    "user turns": "rest/rollout/user_turns",
    "turns": "rest/rollout/assistant_turns",
    "calls": "rest/rollout/calls",
    "done": "rest/rollout/ended_by/done",
    "seconds": "timing_s/step",
}


def show(run: list[Step], console: Console) -> None:
    """Print both tables.

    Args:
        run: the steps, starting with the validation before training.
        console: where to print.
    """
    first, last = run[0].metrics, run[-1].metrics
    validation = Table("validation", "before", "after")
    for key in sorted(first):
        if key.startswith("val-core/") or "/share/mean@" in key or "/rollout/calls/mean@" in key:
            validation.add_row(key, f"{first[key]:.3f}", f"{last[key]:.3f}")
    console.print(validation)
    steps = Table("step", *SHOWN)
    for step in run[1:]:
        steps.add_row(str(step.step), *(f"{step.metrics[name]:.2f}" for name in SHOWN.values()))
    console.print(steps)
