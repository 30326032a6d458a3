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


@dataclass(frozen=True, config=STRICT)
class GtpoConfig:
    """Token rewards by entropy (arXiv 2508.04349).

    Attributes:
        alpha_1: part of a token's reward that is the same for all tokens of a response.
        alpha_2: part that the responses of one outcome share out by their entropy at the token's position.
    """

    alpha_1: float = Field(default=1.0, ge=0)
    alpha_2: float = Field(default=0.1, ge=0)


@dataclass(frozen=True, config=STRICT)
class StareConfig:
    """Advantages reweighted by surprisal (arXiv 2606.19236).

    Attributes:
        share: share of the tokens of each sign of the advantage, those of greatest surprisal, that are reweighted.
        amplify: weight of those with a positive advantage.
        attenuate: weight of those with a negative one; 1 is the paper's variant O1, and 0.9 its C2.
        target_entropy: mean entropy of a batch from which all weights are 1, in nats.
    """

    share: float = Field(default=0.1, gt=0, le=1)
    amplify: float = Field(default=1.1, ge=1)
    attenuate: float = Field(default=1.0, ge=0, le=1)
    target_entropy: float = Field(default=0.3, ge=0)


@dataclass(frozen=True, config=STRICT)
class GigpoConfig:
    """Credit among the turns of a group that were generated in one state (arXiv 2505.10978).

    Attributes:
        omega: weight of the credit next to the advantage of the whole trajectory.
        gamma: discount of the score for each turn that follows.
        by_std: divide the returns of a state by their standard deviation.
    """

    omega: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=0.95, ge=0, le=1)
    by_std: bool = False


@dataclass(frozen=True, config=STRICT)
class MalformedPenaltyConfig:
    """A penalty for the tokens of malformed calls.

    Attributes:
        penalty: what the advantage of each of these tokens is lowered by.
    """

    penalty: float = Field(default=1.0, ge=0)


@dataclass(frozen=True, config=STRICT)
class TurnDiscountedConfig:
    """Weights that fall with the number of turns to come.

    Attributes:
        gamma: discount for each turn that follows.
    """

    gamma: float = Field(default=0.95, gt=0, le=1)
