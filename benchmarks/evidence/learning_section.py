"""What benchmarks/learning.py found, as a section of docs/evidence.md: curves, tables, and verdicts that the numbers
decide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from page import markdown_table

from evidence.curves import Run, mean_steps_to, of_variant, paired_difference, target_accuracy
from evidence.intervals import Interval
from evidence.loop import Validation
from evidence.pictures import FOLDER, picture
from evidence.results import said_by
from evidence.variants import BASELINE
from rest_verl.common.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = tuple[list[str], list[list[str]]]
THROUGH = {"process": "in process", "cuda": "in process on a GPU", "verl": "through stock verl"}
TITLES = {
    "process": "Does it learn faster?",
    "cuda": "Larger batches and longer runs, on a GPU",
    "verl": "The same through stock verl",
}
# Measured with `intervals.mean_interval`: of so many normal values, in how many of a hundred samples the 95 % interval
# holds the mean.
COVERAGE = {3: 68, 5: 84, 10: 91, 20: 93}
REFERENCE = "paper"  # what ablations are compared with
# Paul Tol's bright scheme, which the colour-blind can tell apart, and the grey of a baseline.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")


def read_runs(result: dict[str, Any]) -> list[Run]:
    """The runs of a result file."""
    return [
        Run(run["variant"], run["seed"], [Validation(int(step), acc, new) for step, acc, new in run["validations"]])
        for run in result["runs"]
    ]


def tables(result: dict[str, Any]) -> list[Table]:
    """Tables of a study: every variant against GRPO, and the ablations against `paper`."""
    runs, questions = read_runs(result), result["variants"]
    target = target_accuracy(runs, BASELINE)
    head = ["variant", "runs", "final accuracy", "unseen combinations", "mean over training", f"steps to {target:.2f}"]
    lines = [_line(runs, name, target) for name in questions]
    found: list[Table] = [([*head, "collapsed"], lines)]
    against = ["minus GRPO", "final accuracy", "unseen combinations", "mean over training"]
    found.append((against, [_difference(runs, name, BASELINE) for name in questions if name != BASELINE]))
    if asked := [name for name, question in questions.items() if question and REFERENCE in questions]:
        lines = [_difference(runs, name, REFERENCE, f"{name}: {questions[name]}") for name in asked]
        found.append(([f"minus {REFERENCE}", *against[1:]], lines))
    return found


def section(result: dict[str, Any], folder: Path = FOLDER) -> list[str]:
    """The section of one study as lines of Markdown; the figure goes into `folder`."""
    through = result["through"]
    plan, runs = result["plan"], read_runs(result)
    title = TITLES[through]
    seeds = len(of_variant(runs, BASELINE))
    lines = [
        f"## {title}",
        "",
        f"{said_by(result['made_by'])} {_seeds(seeds)}, "
        f"{plan['steps']} steps of {plan['prompts']} prompts x {plan['n']} responses, one update a step, rate "
        f"{plan['learning_rate']:g}; validation is greedy, over {plan['validation_rows']} rows, half of them unseen "
        "combinations.",
        "",
        picture(_figure(runs, result["variants"]), f"evidence_learning_{through}", f"{title} Curves", folder),
        "",
    ]
    for head, body in tables(result):
        lines += [*markdown_table(head, body), ""]
    return [*lines, *verdicts(result), ""]


def verdicts(result: dict[str, Any]) -> list[str]:
    """One sentence for each comparison, decided by its interval."""
    lines = [
        f"- {about}: final accuracy is {_judged(final)}; mean accuracy over training is {_judged(mean)}."
        for about, final, mean in _comparisons(result)
    ]
    pairs = len(of_variant(read_runs(result), BASELINE))
    return [
        *lines,
        "",
        f"One in twenty of such comparisons (here {len(lines)}) is decided by chance alone. {_coverage(pairs)}",
    ]


def _coverage(pairs: int) -> str:
    """How often intervals of so many pairs hold the truth."""
    count = max((size for size in COVERAGE if size <= pairs), default=min(COVERAGE))
    return f"Intervals from few pairs are too narrow: of {count} normal values, {COVERAGE[count]} % hold the mean."


def not_held(result: dict[str, Any]) -> list[str]:
    """The presets that were not shown to learn faster than GRPO."""
    return [
        f"- {about}, {THROUGH[result['through']]}: mean accuracy over training is {_judged(mean)}, final accuracy is "
        f"{_judged(final)}."
        for about, final, mean in _comparisons(result)
        if about.endswith("GRPO") and mean.low <= 0
    ]


def _comparisons(result: dict[str, Any]) -> list[tuple[str, Interval, Interval]]:
    """What is compared with what, and the differences in final and in mean accuracy."""
    runs, questions, found = read_runs(result), result["variants"], []
    for name, question in questions.items():
        against = REFERENCE if question else BASELINE
        if name == BASELINE or against not in questions:
            continue
        about = f"`{name}` ({REFERENCE} {question}) against `{REFERENCE}`" if question else f"`{name}` against GRPO"
        final, mean = (paired_difference(runs, name, against, quantity) for quantity in ("final", "mean"))
        found.append((about, final, mean))
    return found


def _line(runs: Sequence[Run], name: str, target: float) -> list[str]:
    ours = list(of_variant(runs, name).values())
    steps, reached = mean_steps_to(runs, name, target)
    return [
        name,
        str(len(ours)),
        _spread([run.final for run in ours]),
        _spread([run.final_unseen for run in ours]),
        _spread([run.mean for run in ours]),
        f"{steps:.1f} ({reached} of {len(ours)})" if steps is not None else f"none of {len(ours)}",
        str(sum(run.collapsed for run in ours)),
    ]


def _difference(runs: Sequence[Run], name: str, against: str, label: str = "") -> list[str]:
    quantities = ("final", "final_unseen", "mean")
    return [label or name, *(_shown(paired_difference(runs, name, against, quantity)) for quantity in quantities)]


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} (sd {np.std(values, ddof=1):.3f})" if len(values) > 1 else f"{values[0]:.3f}"


def _seeds(count: int) -> str:
    return "1 paired seed" if count == 1 else f"{count} paired seeds"


def _shown(interval: Interval) -> str:
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _judged(interval: Interval) -> str:
    word = "undecided" if interval.undecided else "higher" if interval.mean > 0 else "lower"
    return f"**{word}**, {_shown(interval)}"


def _figure(runs: Sequence[Run], questions: dict[str, str]) -> Figure:
    """Accuracy over steps: mean and, as a band, its standard error; presets on the left, ablations on the right."""
    presets = [name for name, question in questions.items() if name != BASELINE and not question]
    panels = [panel for panel in (presets, [name for name, question in questions.items() if question]) if panel]
    figure = new_figure(5.0 * len(panels), 4.0)
    axes: Sequence[Axes] = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw(axis, runs, BASELINE, "#555555")
        for place, name in enumerate(panel):
            _draw(axis, runs, name, COLOURS[place % len(COLOURS)])
        axis.set_xlabel("step")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("validation accuracy")
    return figure


def _draw(axis: Axes, runs: Sequence[Run], name: str, colour: str) -> None:
    ours = list(of_variant(runs, name).values())
    steps = [validation.step for validation in ours[0].validations]
    values = np.array([[validation.accuracy for validation in run.validations] for run in ours])
    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(max(len(ours) - 1, 1))
    axis.plot(steps, mean, color=colour, label=name, linewidth=2 if name == BASELINE else 1.4)
    axis.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
