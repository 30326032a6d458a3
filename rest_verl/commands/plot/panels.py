"""The panels of a training chart: their metrics, titles, units and curves."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rest_verl.commands.plot.runs import Scalars, Series
from rest_verl.common.names import unknown_name


@dataclass(frozen=True)
class Curve:
    """A metric over the steps at which every seed logged it.

    Attributes:
        steps: ascending.
        mean: over the seeds; NaN where a seed's value is not finite.
        low, high: the lowest and the highest value of all seeds.
        seeds: number of seeds.
    """

    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def curve(seeds: Sequence[Series], smooth: int = 1) -> Curve:
    """Combine all seeds of a metric.

    Steps that only some seeds have are left out: the mean would jump where a seed begins or ends.

    Args:
        seeds: at least one.
        smooth: number of values in the trailing mean; values that are not finite stay so and are left out of means.
    """
    smoothed = [_trailing_mean(seed, smooth) for seed in seeds]
    steps = sorted(set.intersection(*(set(seed) for seed in smoothed)))
    rows = [[seed[step] for seed in smoothed] for step in steps]
    # min and max depend on the order if there is a NaN
    rows = [row if all(map(math.isfinite, row)) else [math.nan] for row in rows]
    return Curve(
        steps=steps,
        mean=[math.fsum(row) / len(row) for row in rows],
        low=[min(row) for row in rows],
        high=[max(row) for row in rows],
        seeds=len(seeds),
    )


def _trailing_mean(seed: Series, window: int) -> Series:
    steps = sorted(seed)
    values: Series = {}
    for number, step in enumerate(steps):
        near = [seed[one] for one in steps[max(0, number + 1 - window) : number + 1] if math.isfinite(seed[one])]
        values[step] = math.fsum(near) / len(near) if math.isfinite(seed[step]) else math.nan
    return values


@dataclass(frozen=True)
class Panel:
    """A metric, or a family of them.

    Attributes:
        title, unit: shown in the chart.
        metric: its name in the log. For a family, the first `*` is the member: a region or a data source.
        smoothed: whether `--smooth` applies. Validations are few and have no batch noise.
        from_zero: whether its scale begins at 0; no value may be negative.
    """

    title: str
    unit: str
    metric: str
    smoothed: bool = True
    from_zero: bool = False

    def members(self, scalars: Scalars) -> dict[str, Series]:
        """The panel's series in a log, by member; the member of a single metric is the empty string."""
        found: dict[str, Series] = defaultdict(dict)
        for metric, series in scalars.items():
            if match := _regex(self.metric).fullmatch(metric):
                found[match[1] if match.groups() else ""] |= series
        return found


PANELS = (
    Panel("Training reward", "mean score", "critic/score/mean"),
    Panel("Training accuracy", "share of right answers", "rest/reward/acc"),
    # `@n` is the number of answers per question; for a data source without `acc` verl logs the reward instead
    Panel("Validation accuracy", "share of right answers", "val-core/*/acc/mean@*", smoothed=False),
    Panel("Validation reward", "mean reward", "val-core/*/reward/mean@*", smoothed=False),
    Panel("Response length", "tokens", "response_length/mean"),
    Panel("Gradient norm", "L2 norm before clipping", "actor/grad_norm", from_zero=True),
    Panel("Clipped tokens", "share of tokens", "actor/pg_clipfrac", from_zero=True),
    Panel("Clipped weight", "share of weight", "rest/pg_clipfrac", from_zero=True),
    Panel("Curriculum", "lam, from structure to targets", "rest/curriculum", from_zero=True),
    Panel("Region entropy", "nats", "rest/entropy/*", from_zero=True),
    Panel("Region weight", "mean over tokens", "rest/weight/*", from_zero=True),
    Panel("Scheduled weight", "before normalisation", "rest/schedule/*", from_zero=True),
)


@dataclass(frozen=True)
class PanelCurves:
    """A panel with its curves: member -> name of the run -> curve."""

    panel: Panel
    members: dict[str, dict[str, Curve]]


def collect(
    runs: Mapping[str, Sequence[Scalars]], panels: Sequence[Panel], smooth: int
) -> tuple[list[PanelCurves], list[str]]:
    """Collect the curves of all panels.

    Args:
        runs: the logs of each run, one per seed.
        smooth: number of steps in the trailing mean, 1 for none.

    Returns:
        the panels that at least one run logs, and one line for each thing left out, with the reason.
    """
    drawn, notes = [], []
    lacking: dict[str, list[str]] = defaultdict(list)
    for panel in panels:
        members: dict[str, dict[str, Curve]] = defaultdict(dict)
        without: list[str] = []
        for name, seeds in runs.items():
            found = [panel.members(scalars) for scalars in seeds]
            if not any(found):
                without.append(name)
            for member in set().union(*found):
                series = [one[member] for one in found if member in one]
                line = curve(series, smooth if panel.smoothed else 1)
                what = f"{name}: {panel.metric.replace('*', member, 1)}"
                if not any(map(math.isfinite, line.mean)):
                    notes.append(f"{what} left out: no step has a finite value of all {len(series)} seeds")
                    continue
                if len(series) < len(seeds):
                    notes.append(f"{what} is logged by {len(series)} of {len(seeds)} seeds")
                members[member][name] = line
        if len(without) == len(runs):
            notes.append(f"panel {panel.title!r} left out: {panel.metric} is not logged")
        else:
            for name in without:
                lacking[name].append(panel.metric)
        if members:
            drawn.append(PanelCurves(panel, dict(sorted(members.items()))))
    notes += [f"{name} is not in all panels: it does not log {', '.join(keys)}" for name, keys in lacking.items()]
    return drawn, notes


def select_panels(patterns: Sequence[str], runs: Mapping[str, Sequence[Scalars]]) -> list[Panel]:
    """A panel for every logged metric that matches one of the patterns, in which `*` matches any text.

    Raises:
        ValueError: a pattern matches no metric.
    """
    logged = sorted({metric for seeds in runs.values() for scalars in seeds for metric in scalars})
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [metric for metric in logged if _regex(pattern).fullmatch(metric)]
        if not found:
            raise ValueError(f"--metric: {unknown_name('metric', pattern, logged)}")
        chosen |= dict.fromkeys(found)
    return [Panel(metric, "", metric) for metric in chosen]


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "(.+)"))
