"""Settings of single schemes, a node each: of `wiener`, and of the rules published elsewhere (`weighting.published`),
with the values of their papers as defaults."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT


@dataclass(frozen=True, config=STRICT)
class WienerConfig:
    """Weights by the signal of each region (`core.signal`).

    Attributes:
        base: weight of a region without a signal; a region whose gradient is all signal has weight 1.
        min_trajectories: number of trajectories with a token in a region that a step needs to measure the region.
        min_squares: sum of u^2 over a step that a region needs to be measured, in nats^2: below, its tokens are next
            to certain, and their gradient says nothing.
    """

    base: float = Field(default=0.2, ge=0, le=1)
    min_trajectories: int = Field(default=16, ge=2)
    min_squares: float = Field(default=1.0, ge=0)


@dataclass(frozen=True, config=STRICT)
class TopFifthConfig:
    """Training on the tokens of greatest entropy alone (arXiv 2506.01939).

    Attributes:
        share: share of a batch's generated tokens that are trained.
    """

    share: float = Field(default=0.2, gt=0, le=1)
