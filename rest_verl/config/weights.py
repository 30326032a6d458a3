"""Settings of the weights: of each region, of the reasoning targets, and of the curriculum between them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT, Ramp, ramp
from rest_verl.core import curriculum
from rest_verl.core.regions import Region


@dataclass(frozen=True, config=STRICT)
class RegionWeights:
    """Weight of each region before normalisation, in scheme `paper`; negative weights count as 0. Defaults: the
    authors' released constants."""

    format: Ramp = ramp(1.0)
    name: Ramp = ramp(1.2)
    args: Ramp = ramp(0.6, 0.002, 1.2)
    think: Ramp = ramp(0.6, 0.002, 1.0)
    response: Ramp = ramp(0.0)
    other: Ramp = ramp(0.0)

    def schedules(self) -> dict[Region, curriculum.Schedule]:
        """The schedule of each region."""
        return {region: getattr(self, region.label).schedule() for region in Region}


Target = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class RegionTargets:
    """Reasoning target g of each region, in the schemes that measure entropy: the weights at the end of the
    curriculum, up to a common factor."""

    format: Target = 1.0
    name: Target = 1.0
    args: Target = 1.2
    think: Target = 1.2
    response: Target = 1.0
    other: Target = 1.0

    def of(self, region: Region) -> float:
        """Return the target of a region."""
        return getattr(self, region.label)


def registered_name(get: Any) -> AfterValidator:
    """Validator of a registered name; `get` is its registry's getter and raises for an unknown name."""

    def check(name: str) -> str:
        get(name)
        return name

    return AfterValidator(check)


@dataclass(frozen=True, config=STRICT)
class CurriculumConfig:
    """How lam moves from structure (0) to the reasoning targets (1), in the schemes that measure entropy.

    Attributes:
        kind: shape of the curriculum: constant, linear, cosine, exponential, step, adaptive, or your own
            (`core.curriculum`).
        unit: unit of begin and end: global steps, or fractions of training.
        begin, end: interval in which lam moves.
        low, high: range of lam: lam = low + (high - low) * kind. high below low reverses the curriculum; with
            kind=constant, lam is `high`.
    """

    kind: Annotated[str, registered_name(curriculum.get_curriculum)] = "linear"
    unit: Literal["step", "fraction"] = "fraction"
    begin: float = Field(default=0.0, ge=0)
    end: float = Field(default=1.0, gt=0)
    low: float = Field(default=0.0, ge=0, le=1)
    high: float = Field(default=1.0, ge=0, le=1)

    def __post_init__(self) -> None:
        if self.begin >= self.end:
            raise ValueError(f"begin={self.begin} must be less than end={self.end}")
        if self.unit == "fraction" and self.end > 1:
            raise ValueError(f"end={self.end} is not a fraction of training: set it to at most 1, or set unit=step")
