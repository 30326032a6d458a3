"""Tables of a run with multi-turn rollouts: what validation said, and what the steps logged of their rollouts."""

from rich.console import Console
from rich.table import Table
from verl_run import Step

SHOWN = ("user_turns", "assistant_turns", "calls", "ended_by/done", "tool_seconds")


def show(run: list[Step], console: Console) -> None:
    """Print both.

    Args:
        run: the steps, from the validation before training on.
        console: where to print.
    """
    first, last = run[0].metrics, run[-1].metrics
    validation = Table("validation", "before", "after")
    for key in sorted(first):
        if key.startswith("val-core/") or "/share/mean@" in key or "/rollout/calls/mean@" in key:
            validation.add_row(key, f"{first[key]:.3f}", f"{last[key]:.3f}")
    console.print(validation)
    steps = Table("step", "reward", "share", *SHOWN, "seconds")
    for step in run[1:]:
        logged = step.metrics
        names = ["critic/score/mean", "rest/reward/share", *(f"rest/rollout/{key}" for key in SHOWN)]
        values = [f"{logged[name]:.3f}" for name in names]
        steps.add_row(str(step.step), *values, f"{logged['timing_s/step']:.1f}")
    console.print(steps)
