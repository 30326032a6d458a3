"""The `rest.dump` node: how much of what training does is written down, in the folder `rest.dump_dir`."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT


@dataclass(frozen=True, config=STRICT)
class DumpConfig:
    """Size of the token records.

    Attributes:
        trajectories: of each batch that are written down, of a prompt always the best and the worst. A step has one
            batch, in `separate_async` as many as `parameter_sync_step` says.
        fraction: of a batch's trajectories, where that is more.
        every: steps between two files.
        max_gib: of all files together. Beyond it every second file is deleted, and half as many are written.
    """

    trajectories: int = Field(default=32, gt=0)
    fraction: float = Field(default=0.0, ge=0, le=1)
    every: int = Field(default=1, gt=0)
    max_gib: float = Field(default=2.0, gt=0)
