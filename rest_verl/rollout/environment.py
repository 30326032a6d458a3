"""Environments, which trajectories act on: the protocol, the registry by name, and the environment of a row.

A row names its environment (`extra_info.environment`) and its keyword arguments (`extra_info.environment_kwargs`, a
JSON object as text, so that rows of different environments share one schema). The agent loop makes one instance for
every trajectory and always closes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from rest_verl.common.logs import logger_of
from rest_verl.common.names import Registry
from rest_verl.rollout.waiting import UserCodeError, call_in_thread, wait_at_most

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

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
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
        "bfcl_multi_turn": "rest_verl.bfcl.multi_turn.environment",
        "mcp": "rest_verl.rollout.mcp.environment",
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


class EnvironmentProtocolError(ValueError):
    """A method of an environment returned what its protocol does not allow; its trajectory fails, and no other."""

    def __init__(self, environment: object, method: str, returned: object, expected: str):
        try:
            shown = f"{returned!r:.300}"
        except Exception as error:  # of its own __repr__
            shown = f"a {type(returned).__name__} that cannot be shown ({type(error).__name__})"
        super().__init__(f"{type(environment).__name__}.{method}() returned {shown}: return {expected}")


async def opening_of(environment: Environment, seconds: float) -> Opening:
    """Start a trajectory.

    Raises:
        EnvironmentProtocolError: the environment returned no `Opening` of messages and tools.
        TimeoutError: it takes longer than `seconds`.
    """
    opening = await wait_at_most(seconds, environment.reset())
    if (
        not isinstance(opening, Opening)
        or not _are_messages(opening.messages)
        or not _is_sequence_of_mappings(opening.tools)
    ):
        expected = "an Opening whose messages are dicts with a role and content, and whose tools are schemas"
        raise EnvironmentProtocolError(environment, "reset", opening, expected)
    return opening


async def next_messages_of(environment: Environment, seconds: float) -> Sequence[Message] | None:
    """The user's next messages, or None if the user is done.

    Raises:
        EnvironmentProtocolError: the environment returned neither.
        TimeoutError: it takes longer than `seconds`.
    """
    messages = await wait_at_most(seconds, environment.next_user_turn())
    if messages is not None and not _are_messages(messages):
        expected = "a list of messages, which are dicts with a role and content, or None if the user is done"
        raise EnvironmentProtocolError(environment, "next_user_turn", messages, expected)
    return messages


async def score_of(environment: Environment, seconds: float) -> dict[str, float] | None:
    """The score of a trajectory as plain numbers, with `acc`; None if it is left to the row's scorer.

    Raises:
        EnvironmentProtocolError: the score violates the protocol.
        TimeoutError: scoring takes longer than `seconds`.
    """
    score = await wait_at_most(seconds, environment.score())
    if isinstance(score, LeftToScorer):
        return None
    is_valid = isinstance(score, Mapping) and all(
        isinstance(key, str) and isinstance(value, Real) and math.isfinite(value) for key, value in score.items()
    )
    if not is_valid or not 0 <= score.get("score", -1) <= 1:
        expected = "a dict of finite numbers in which 'score' is between 0 and 1"
        raise EnvironmentProtocolError(environment, "score", score, expected)
    numbers = {key: float(value) for key, value in score.items()}
    return {"acc": float(numbers["score"] == 1), **numbers}


async def turn_scores_of(environment: ScoresTurns, reached: int, seconds: float) -> list[float]:
    """The scores of the user turns as plain numbers.

    Args:
        environment: environment of a trajectory that is over and scored.
        reached: number of user turns that the trajectory reached.
        seconds: time limit.

    Raises:
        EnvironmentProtocolError: the scores violate the protocol.
        TimeoutError: scoring takes longer than `seconds`.
    """
    scores: Any = await wait_at_most(seconds, call_in_thread(environment.turn_scores))
    is_valid = isinstance(scores, Sequence) and all(isinstance(one, Real) and math.isfinite(one) for one in scores)
    if not is_valid or len(scores) > reached:
        expected = f"a list of finite numbers, at most one for each of the {reached} user turns that were reached"
        raise EnvironmentProtocolError(environment, "turn_scores", scores, expected)
    return [float(one) for one in scores]


async def state_name_of(environment: NamesStates, seconds: float) -> str:
    """The name of the present state.

    Raises:
        EnvironmentProtocolError: it is no text.
        TimeoutError: naming it takes longer than `seconds`.
    """
    name: Any = await wait_at_most(seconds, call_in_thread(environment.state_name))
    if not isinstance(name, str):
        raise EnvironmentProtocolError(environment, "state_name", name, "a text that names the state")
    return name


def _is_sequence_of_mappings(value: object) -> bool:
    return (
        isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, Mapping) for item in value)
    )


def _are_messages(value: Any) -> bool:
    return _is_sequence_of_mappings(value) and all(
        isinstance(message.get("role"), str) and isinstance(message.get("content"), str | list | None)
        for message in value
    )


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
