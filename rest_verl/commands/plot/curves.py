"""From the values of several seeds to one line with a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rest_verl.commands.plot.logs import Series


@dataclass(frozen=True)
class Curve:
    """A metric over the steps at which every seed logged it.

    Attributes:
        steps: ascending.
        mean: over the seeds; NaN where a seed's value is not finite.
        low, high: the lowest and the highest seed.
        seeds: how many there are.
    """

    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def curve(seeds: Sequence[Series], smooth: int = 1) -> Curve:
    """One line of all seeds.

    A step that only some seeds have is left out: the mean would leap where one of them begins or ends.

    Args:
        seeds: at least one.
        smooth: take for each value the mean of so many, it and those before; values that are not finite stay so, and
            count in no mean.
    """
    smoothed = [_trailing_mean(seed, smooth) for seed in seeds]
    steps = sorted(set.intersection(*(set(seed) for seed in smoothed)))
    rows = [[seed[step] for seed in smoothed] for step in steps]
    # min and max of what holds a NaN depend on the order
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
