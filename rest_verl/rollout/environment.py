"""What a trajectory acts on: a small protocol, one instance a trajectory, the registry by name, and a row's own.

A row names its environment (`extra_info.environment`) and what it is made with (`extra_info.environment_kwargs`, a
JSON object as text, so that rows of different environments have one schema). The agent loop makes one instance for
every trajectory and always closes it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol

from rest_verl.common.logs import logger_of
from rest_verl.common.names import Registry
from rest_verl.rollout.waiting import at_most

logger = logger_of(__name__)

Message = dict[str, Any]  # {"role": ..., "content": ...}


@dataclass(frozen=True)
class Opening:
    """How a trajectory begins.

    Attributes:
        messages: appended to the row's prompt.
        tools: schemas for the model's chat template, {"type": "function", "function": {...}} each; none where the
            prompt describes the tools itself.
    """

    messages: Sequence[Message] = ()
    tools: Sequence[Mapping[str, Any]] = ()


class ToolError(Exception):
    """A call that failed in a way that the model should read about; its text becomes the tool's message."""


class Environment(Protocol):
    """Tools with state, and the user who asks for things to be done with them.

    Methods run in the event loop that all trajectories of a worker share: work that blocks belongs in a thread
    (`rest_verl.rollout.waiting.call_in_thread`). The loop bounds the time of each call and of the whole trajectory,
    and turns an exception into a message of the tool that the model can read.
    """

    @property
    def parallel(self) -> bool:
        """Whether the calls of one turn may run at the same time."""
        ...

    async def reset(self) -> Opening:
        """Begin a trajectory. Called once, before anything else."""
        ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run a tool and return what the model is to read.

        Args:
            name: as the model wrote it.
            arguments: JSON values.

        Raises:
            KeyError: there is no such tool; its argument is the name, as a look-up in a dict of tools raises it.
            TypeError: the arguments do not fit.
            ToolError: the call failed; so does any other exception, but its text may say more than the model should
                read.
        """
        ...

    async def next_user_turn(self) -> Sequence[Message] | None:
        """Return the user's next messages once the policy has made no further call, or None where the user is done."""
        ...

    async def score(self) -> dict[str, float]:
        """Score the trajectory: `score` in [0, 1] is the share of the correctness reward, `acc` what validation
        reports (1 where `score` is 1 if it is left out), each further number is logged. Called once, at the end,
        however the trajectory ended."""
        ...

    async def close(self) -> None:
        """Let go of everything. Always called, also after an error."""
        ...


@dataclass
class NoEnvironment:
    """Defaults to build on: one user turn, calls one after the other, nothing to let go of."""

    parallel: bool = field(default=False, init=False)

    async def next_user_turn(self) -> Sequence[Message] | None:
        return None

    async def close(self) -> None:
        return None


ENVIRONMENTS: Registry[Callable[..., Environment]] = Registry(
    "environment", modules={"bfcl_multi_turn": "rest_verl.bfcl.multi_turn.environment"}
)


def register_environment(name: str) -> Callable[[Callable[..., Environment]], Callable[..., Environment]]:
    """Register an environment: a decorator for its class, which is called with the row's `environment_kwargs`.

    Making one only checks what it is given: `rest-verl data check` makes one for every row, and neither resets nor
    closes it. What must be let go of belongs in `reset`.

    Raises:
        ValueError: the name is taken.
    """
    ENVIRONMENTS.check_free(name)

    def register(make: Callable[..., Environment]) -> Callable[..., Environment]:
        ENVIRONMENTS.add(name, make)
        return make

    return register


def get_environment(name: str) -> Callable[..., Environment]:
    """Return what makes an environment; ValueError names the nearest and all known ones."""
    return ENVIRONMENTS.get(name)


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
