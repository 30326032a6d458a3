"""How sure a mean is: bootstrap intervals at 95 %, by scipy (BCa). The seed is fixed: equal values, equal intervals.

A bootstrap knows no more than its sample. With fewer than about ten values its interval is too narrow: of samples of
three from a normal distribution it holds the true mean in about two out of three.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

CONFIDENCE = 0.95
SEED = 0
SAME = 1e-12  # relative: values that differ by less are the same but for rounding


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        mean: the estimate.
        low, high: ends of the interval; minus and plus infinity where a single value says nothing about the spread.
    """

    mean: float
    low: float
    high: float

    @property
    def undecided(self) -> bool:
        """Whether 0 lies inside, ends included: the sign is not known."""
        return self.low <= 0.0 <= self.high


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of a sample.

    Args:
        values: at least one, finite. One alone has an interval without ends; of values that are all the same, the
            interval is that value.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    sample = _checked("values", values)
    return _interval([sample], lambda drawn, axis: drawn.mean(axis), spread=np.ptp(sample))


def difference_interval(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """The mean of the paired differences `ours - theirs`, as `mean_interval` of them.

    Args:
        ours, theirs: of the same length; values at the same place were measured under the same conditions.

    Raises:
        ValueError: the lengths differ, or as `mean_interval`.
    """
    return mean_interval(list(map(operator.sub, *_paired(ours, theirs))))


def ratio_interval(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """The ratio of two totals, `sum(ours) / sum(theirs)`, where pairs are what is drawn anew.

    Long pairs count more than short ones, as they do in what a whole run costs. For how much more `ours` costs, give
    the differences: `ratio_interval(ours - theirs, theirs)`.

    Args:
        ours: any sign.
        theirs: of the same length, > 0.

    Raises:
        ValueError: the lengths differ, one of `theirs` is not above 0, or as `mean_interval`.
    """
    above, below = (_checked(name, side) for name, side in zip(("ours", "theirs"), _paired(ours, theirs), strict=True))
    if below.min() <= 0:
        raise ValueError(f"theirs={below.min()}: a total that is divided by needs values above 0")
    spread = np.ptp(above / below)
    return _interval([above, below], lambda up, down, axis: up.sum(axis) / down.sum(axis), spread)


def _paired(ours: Sequence[float], theirs: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} values against {len(theirs)}: each needs its partner")
    return ours, theirs


def _checked(name: str, values: Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if not len(sample):
        raise ValueError(f"{name}: no value to take a mean of")
    if not np.isfinite(sample).all():
        raise ValueError(f"{name}: {sample[~np.isfinite(sample)][0]} is not finite; leave out what was not measured")
    return sample


def _interval(samples: list[np.ndarray], statistic: Callable[..., np.ndarray], spread: float) -> Interval:
    mean = float(statistic(*samples, axis=-1))
    if len(samples[0]) == 1:
        return Interval(mean, -math.inf, math.inf)
    if spread <= SAME * abs(mean):  # BCa divides by the spread
        return Interval(mean, mean, mean)
    found = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="BCa",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
