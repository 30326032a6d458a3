"""Environments, which trajectories act on: the protocol, the registry by name, and the environment of a row.

A row names its environment (`extra_info.environment`) and its keyword arguments (`extra_info.environment_kwargs`, a
JSON object as text, so that rows of different environments share one schema). The agent loop makes one instance for
every trajectory and always closes it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rest_verl.common.logs import logger_of
from rest_verl.common.names import Registry
from rest_verl.rollout.waiting import UserCodeError, wait_at_most

logger = logger_of(__name__)

Message = dict[str, Any]  # {"role": ..., "content": ...}


@dataclass(frozen=True)
class Opening:
    """How a trajectory begins.

    Attributes:
        messages: messages appended to the row's prompt.
        tools: schemas for the model's chat template, {"type": "function", "function": {...}} each; empty if the prompt
            itself describes the tools.
    """

    messages: Sequence[Message] = ()
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class LeftToScorer:
    """In place of a score: the scorer of the row's data source judges the response by the row's ground truth."""


@dataclass(frozen=True)
class Earned:
    """The result of a call that decided a part of the score; for `rest.credit=turn`.

    Attributes:
        text: what the model reads.
        amount: the part, finite, in units of `score`. It must depend on nothing that comes after the call.
    """

    text: str
    amount: float


class ToolError(Exception):
    """A failed call whose error the model should read; the text becomes the tool's message."""


class Environment(Protocol):
    """Tools with state, and the user who asks for their use.

    Methods run in the event loop that all trajectories of a worker share: work that blocks belongs in a thread
    (`rest_verl.rollout.waiting.call_in_thread`). The loop limits the time of each call and of the whole trajectory,
    and turns exceptions into tool messages that the model can read.
    """

    @property
    def parallel(self) -> bool:
        """Whether the calls of one turn may run at the same time."""
        ...

    async def reset(self) -> Opening:
        """Start a trajectory. Called once, before any other method."""
        ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str | Earned:
        """Run a tool and return the text for the model.

        Args:
            name: name of the tool as the model wrote it.
            arguments: JSON values.

        Raises:
            KeyError: no tool has this name; the argument is the name, as from a look-up in a dict of tools.
            TypeError: the arguments do not match the tool's parameters.
            ToolError: the call failed. Any other exception also fails the call, but its text may reveal more than the
                model should read.
        """
        ...

    async def next_user_turn(self) -> Sequence[Message] | None:
        """Return the user's next messages once a turn has no call, or None if the user is done."""
        ...

    async def score(self) -> dict[str, float] | LeftToScorer:
        """Score the trajectory: `score` in [0, 1] is the share of the correctness reward, `acc` the number that
        validation reports (default: 1 if `score` is 1, else 0), and any other number is logged as
        `rest/environment/<name>`. All are finite. Called once, at the end of every trajectory, whatever ended it.
        `LeftToScorer()` leaves the trajectory to the scorer of the row's data source."""
        ...

    async def close(self) -> None:
        """Release all resources. Always called, even after an error."""
        ...


@runtime_checkable
class ScoresTurns(Protocol):
    """An environment that also says what each user turn earned, for `rest.credit=turn`."""

    def turn_scores(self) -> Sequence[float]:
        """Score each user turn, in order, as the part of `score` that was decided in it. Called once, after `score`.

        A turn's part must depend on nothing that comes after the turn. The parts need not add up: the rest of `score`
        is credited to the whole trajectory. Turns that were not reached can be left out.
        """
        ...


@runtime_checkable
class NamesStates(Protocol):
    """An environment that names the state it is in, for schemes that compare the turns of a group which were generated
    in one state (`weighting.published.gigpo`)."""

    def state_name(self) -> str:
        """Name the present state. Called before each generation; equal names are equal states, in all trajectories of
        a row."""
        ...


@runtime_checkable
class KeepsState(Protocol):
    """An environment whose state another conversation begins with (`eval.states`)."""

    def state(self) -> Any:
        """The present state, as JSON values of its own."""
        ...


@runtime_checkable
class HearsAnswers(Protocol):
    """An environment that is told what the policy says, as one whose user answers to it."""

    async def hear(self, answer: str) -> None:
        """Note the answer of a generated turn: its text outside of reasoning and calls, which can be empty. Called
        after each generation, before the turn's calls and before `next_user_turn`."""
        ...


@dataclass
class NoEnvironment:
    """Base class with defaults: one user turn, sequential calls, nothing to close."""

    parallel: bool = field(default=False, init=False)

    async def next_user_turn(self) -> Sequence[Message] | None:
        return None

    async def close(self) -> None:
        return None


ENVIRONMENTS: Registry[Callable[..., Environment]] = Registry(
    "environment",
    modules={
        "agentdojo": "rest_verl.rollout.agentdojo",
        "bfcl_memory": "rest_verl.bfcl.memory.environment",
        "bfcl_multi_turn": "rest_verl.bfcl.multi_turn.environment",
        "mcp": "rest_verl.rollout.mcp.environment",
        "openenv": "rest_verl.rollout.openenv",
    },
)


def register_environment(name: str) -> Callable[[Callable[..., Environment]], Callable[..., Environment]]:
    """Decorator that registers the class of an environment, which is called with the row's `environment_kwargs`.

    `__init__` should only check its arguments: `rest-verl data check` makes an instance for every row, and neither
    resets nor closes it. Acquire resources in `reset`.

    Raises:
        ValueError: the name is taken.
    """
    ENVIRONMENTS.check_free(name)

    def register(make: Callable[..., Environment]) -> Callable[..., Environment]:
        ENVIRONMENTS.add(name, make)
        return make

    return register


def get_environment(name: str) -> Callable[..., Environment]:
    """Return the class of an environment; the ValueError for an unknown name lists the closest and all known names."""
    return ENVIRONMENTS.get(name)


@asynccontextmanager
async def environment_of(extra_info: Mapping[str, Any], close_seconds: float) -> AsyncIterator[Environment | None]:
    """Context manager of the environment that a row names, which always closes it; None if the row names none.

    Args:
        extra_info: `extra_info` of the row.
        close_seconds: time limit of closing in seconds.

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
            await wait_at_most(close_seconds, environment.close())
        except Exception:  # the trajectory itself is complete
            logger.exception("environment %r failed to close; its trajectory is kept", name)


def _make(name: str, kwargs: str, index: Any) -> Environment:
    """Make an environment; ValueError if the row is wrong."""
    make = get_environment(name)
    try:
        return make(**json.loads(kwargs))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"row with extra_info.index={index!r}: environment {name!r} cannot be made with "
            f"extra_info.environment_kwargs={kwargs!r:.200}: {error}. Set it to a JSON object, as text, whose keys "
            f"are parameters of {make!r}"
        ) from error
    except Exception:
        raise
    except BaseException as error:  # as `rollout.waiting.contained`, for what is no coroutine
        raise UserCodeError(f"environment {name!r} cannot be made: {type(error).__name__}: {error}") from error
