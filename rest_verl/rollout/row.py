"""A row's environment: made from `extra_info`, scored, and always closed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from numbers import Real
from typing import Any

from rest_verl.common.logs import logger_of
from rest_verl.rollout.environment import Environment
from rest_verl.rollout.environments import get_environment
from rest_verl.rollout.waiting import at_most

logger = logger_of(__name__)


@asynccontextmanager
async def environment_of(extra_info: Mapping[str, Any], close_seconds: float) -> AsyncIterator[Environment | None]:
    """The environment that a row names, closed at the end, however that comes; None where it names none.

    Args:
        extra_info: of the row.
        close_seconds: that closing may take.

    Raises:
        ValueError: the name is not registered, or the environment cannot be made with the row's keyword arguments.
    """
    name = extra_info.get("environment")
    if name is None:
        yield None
        return
    environment = _make(name, extra_info.get("environment_kwargs") or "{}", extra_info.get("index"))
    try:
        yield environment
    finally:
        try:
            await at_most(close_seconds, environment.close())
        except Exception:  # the trajectory itself is whole
            logger.exception("environment %r could not be closed", name)


async def score_of(environment: Environment, seconds: float) -> dict[str, float]:
    """The score of a trajectory as plain numbers, with `acc`.

    Raises:
        ValueError: the environment's score is not what its protocol says.
        TimeoutError: it takes longer than so many seconds.
    """
    score = await at_most(seconds, environment.score())
    numbers = {key: float(value) for key, value in score.items() if isinstance(value, Real)}
    if numbers.keys() != score.keys() or not 0 <= numbers.get("score", -1) <= 1:
        raise ValueError(
            f"{type(environment).__name__}.score() returned {score!r:.500}: it must return a dict of numbers in which "
            "'score' lies between 0 and 1"
        )
    return {"acc": float(numbers["score"] == 1), **numbers}


def _make(name: str, kwargs: str, index: Any) -> Environment:
    """Make an environment; ValueError says what is wrong with the row."""
    make = get_environment(name)
    try:
        return make(**json.loads(kwargs))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"row with extra_info.index={index!r}: environment {name!r} cannot be made with "
            f"extra_info.environment_kwargs={kwargs!r:.200}: {error}. It must be a JSON object, as text, whose keys "
            f"are parameters of {make!r}"
        ) from error
