"""What the methods of an environment return: waited for at most a time, and checked against the protocol.

An environment is a user's code. What it returns is checked where it arrives, so that a mistake is named by its method
and costs its own trajectory alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from rest_verl.rollout.environment import Environment, LeftToScorer, Message, NamesStates, Opening, ScoresTurns
from rest_verl.rollout.waiting import call_in_thread, wait_at_most


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
