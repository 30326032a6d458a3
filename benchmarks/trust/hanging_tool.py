"""An environment whose tools never return: one waits in the event loop, as a request without an answer does; the other
blocks the event loop of all trajectories, as a careless tool does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from rest_verl.rollout.environment import NoEnvironment, Opening, register_environment

NAME = "hanging"
FOR_EVER = 1e6  # seconds


@register_environment(NAME)
@dataclass
class Hanging(NoEnvironment):
    """Tools of any name that hang.

    Attributes:
        blocking: whether they block the event loop.
    """

    blocking: bool = False

    async def reset(self) -> Opening:
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        if self.blocking:
            time.sleep(FOR_EVER)
        await asyncio.sleep(FOR_EVER)
        raise AssertionError("no call waits so long")

    async def score(self) -> dict[str, float]:
        return {"score": 0.0}
