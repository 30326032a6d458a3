"""Tables of a run with multi-turn rollouts: what validation said, and what the steps logged of their rollouts."""

from rich.console import Console
from rich.table import Table
from verl_run import Step

# heading -> what is logged
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
    steps = Table("step", *SHOWN)
    for step in run[1:]:
        steps.add_row(str(step.step), *(f"{step.metrics[name]:.2f}" for name in SHOWN.values()))
    console.print(steps)
