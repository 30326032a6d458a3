"""A number that changes with the global step, as a setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from rest_verl.core import curriculum

# Shared by every settings dataclass: unknown keys, NaN and infinities are errors.
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class Ramp:
    """`start` up to step `begin`, then `start + slope * (step - begin)`, up (or down) to `limit`. A number alone stays
    as it is: 0.5 is start=0.5 without a slope.

    A slope that reaches the limit within one step makes a switch: start=1, slope=-0.5, limit=0.5, begin=29 drops from
    1 to 0.5 at step 30.
    """

    start: float
    slope: float = 0.0
    limit: float | None = None
    begin: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        # pydantic passes what a call was given as ArgsKwargs, and a setting as it is
        if isinstance(given, int | float) and not isinstance(given, bool):
            return {"start": given}
        if isinstance(given, Ramp | Mapping | ArgsKwargs):
            return given
        raise ValueError("takes a number, or {start, slope, limit, begin}")

    def schedule(self) -> curriculum.Schedule:
        """The ramp as a function of the global step."""
        limit = self.start if self.limit is None else self.limit
        return curriculum.ramp(self.start, self.slope, limit, self.begin)

    def __post_init__(self) -> None:
        if self.limit is None:
            if self.slope != 0:
                raise ValueError("slope needs a limit: set limit, or slope=0")
        elif (self.limit - self.start) * self.slope < 0:
            raise ValueError("slope leads away from limit: change the sign of slope, or limit")
        if self.begin > 0 and self.slope == 0:
            raise ValueError(f"begin={self.begin} needs slope and limit")


def ramp(start: float, slope: float = 0.0, limit: float | None = None) -> Any:
    """Dataclass field with this ramp as its default."""
    return field(default_factory=lambda: Ramp(start, slope, limit))
