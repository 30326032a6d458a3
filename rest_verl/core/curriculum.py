"""How training moves from structure to reasoning: schedules and curricula, plain callables that compose and plot.

A *schedule* gives a number at a global step; the region weights of the paper's run and its reward bounds are such.
A *curriculum* gives lam in [0, 1] from the progress of the run: 0 stresses structure, 1 the reasoning targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rest_verl.common.names import Registry

Schedule = Callable[[int], float]


def ramp(start: float, slope: float, limit: float, begin: int = 0) -> Schedule:
    """Schedule that leaves `start` at step `begin` by `slope` per step and stays at `limit` once it is reached;
    without a slope it stays at `start`.

    The curriculum of the paper's released run (structure first, reasoning later) is made of these: reasoning and
    arguments start at 0.6 and rise by 0.002 a step. So is its dynamic reward.
    """
    if slope == 0:
        return lambda step: start
    bound = max if slope < 0 else min
    return lambda step: bound(limit, start + slope * max(step - begin, 0))


@dataclass(frozen=True)
class Progress:
    """How far training has come.

    Attributes:
        step: global step, from 1.
        total_steps: global steps of the whole run.
        position: share of the curriculum's own interval that has passed, in [0, 1].
        structure_entropy: mean entropy of format and name tokens now, smoothed, nats; None where it is not measured.
        structure_entropy_first: the same at the start of the run.
    """

    step: int
    total_steps: int
    position: float
    structure_entropy: float | None = None
    structure_entropy_first: float | None = None


Curriculum = Callable[[Progress], float]


def position(now: float, begin: float, end: float) -> float:
    """Share of the interval from begin to end that has passed, in [0, 1]; steps or fractions of training."""
    return min(max((now - begin) / (end - begin), 0.0), 1.0)


def constant(progress: Progress) -> float:
    """1 throughout."""
    return 1.0


def linear(progress: Progress) -> float:
    """Evenly from 0 to 1."""
    return progress.position


def cosine(progress: Progress) -> float:
    """From 0 to 1, slow at both ends: half a wave."""
    return (1.0 - math.cos(math.pi * progress.position)) / 2.0


EXPONENT = 5.0


def exponential(progress: Progress) -> float:
    """From 0 to 1, fast at first: (1 - exp(-5 x)) / (1 - exp(-5)), half of the way at 0.14 of the interval."""
    return math.expm1(-EXPONENT * progress.position) / math.expm1(-EXPONENT)


def step(progress: Progress) -> float:
    """0 until the end of the interval, then 1."""
    return float(progress.position >= 1.0)


def adaptive(progress: Progress) -> float:
    """1 - h / h_first, in [0, 1]: as far as the entropy h of the structure tokens has fallen since the first step.

    0 until it has been measured, and where it was 0 from the start (a model that knows the format already has nothing
    left to fall) 1.
    """
    now, first = progress.structure_entropy, progress.structure_entropy_first
    if now is None or first is None:
        return 0.0
    return min(max(1.0 - now / first, 0.0), 1.0) if first > 0 else 1.0


_CURRICULA: Registry[Curriculum] = Registry(
    "curriculum",
    {curriculum.__name__: curriculum for curriculum in (constant, linear, cosine, exponential, step, adaptive)},
)


def register_curriculum(name: str) -> Callable[[Curriculum], Curriculum]:
    """Register a curriculum of your own: a decorator for a function from `Progress` to a number in [0, 1]; ValueError
    if the name is taken."""
    _CURRICULA.check_free(name)

    def register(curriculum: Curriculum) -> Curriculum:
        _CURRICULA.add(name, curriculum)
        return curriculum

    return register


def get_curriculum(name: str) -> Curriculum:
    """Return a curriculum; ValueError names the nearest and all known ones."""
    return _CURRICULA.get(name)
