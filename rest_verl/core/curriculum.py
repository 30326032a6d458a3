"""Schedules over training: plain callables from the global step to a number, so that they compose, plot and test."""

from collections.abc import Callable

Schedule = Callable[[int], float]


def ramp(start: float, slope: float, limit: float) -> Schedule:
    """Schedule that leaves `start` at step 0 by `slope` per step and stays at `limit` once it is reached; without a
    slope it stays at `start`.

    The curriculum of the paper's released run (structure first, reasoning later) is made of these: reasoning and
    arguments start at 0.6 and rise by 0.002 a step. So is its dynamic reward.
    """
    if slope == 0:
        return lambda step: start
    bound = max if slope < 0 else min
    return lambda step: bound(limit, start + slope * step)
