"""Liveness of the processes that a run needs: Ray knows its actors, and a vLLM server knows its engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from rest_verl.common.logs import Survived, logger_of

RESUME = "Rerun the same command to resume from the latest checkpoint (trainer.resume_mode=auto, verl's default)."
PATIENCE_SECONDS = 5.0  # to wait for the news of a death after a failure
ASK_AGAIN_SECONDS = 0.2

logger = logger_of(__name__)

_Question = tuple[ActorHandle, Callable[[Any], str | None]]


def ask_actor(self: Any) -> None:
    """Question to an actor that is alive if it answers."""


def ask_vllm_engine(server: Any) -> str | None:
    """Question to verl's vLLM server, whose engine is a separate process: why the engine died, or None."""
    return f"vLLM says: {server.engine.dead_error}" if server.engine.errored else None


@dataclass(frozen=True)
class Role:
    """Actors with the same task.

    Attributes:
        name: name of one actor, for messages.
        handles: Ray handles of all actors.
        question: function that runs inside of each actor, on its object; returns the cause of its death, or None.
    """

    name: str
    handles: Sequence[Any]
    question: Callable[[Any], str | None] = ask_actor


class Liveness:
    """Finds a process that died.

    Args:
        roles: returns the actors that must be alive; called at each look, because servers come and go.
    """

    def __init__(self, roles: Callable[[], Sequence[Role]]):
        self._roles = roles
        self._pending: dict[_Question, ray.ObjectRef] = {}
        self._survived = Survived(logger)

    def look(self) -> str | None:
        """Message about the first actor that is known to have died; None if none has.

        Each actor has one pending question of a kind at a time: a busy actor answers later. What goes wrong in asking
        is logged: it says nothing about the actor.
        """
        with self._survived("the look for dead workers"):
            return self._look()
        return None

    def _look(self) -> str | None:
        roles = self._roles()
        wanted = {(handle, role.question): role.name for role in roles for handle in role.handles}
        self._pending = {question: answer for question, answer in self._pending.items() if question in wanted}
        for (handle, question), name in wanted.items():
            if (handle, question) not in self._pending:
                with self._survived(f"asking an actor ({name})"):
                    self._pending[handle, question] = handle.__ray_call__.remote(question)
        if not self._pending:
            return None
        answered = set(ray.wait([*self._pending.values()], num_returns=len(self._pending), timeout=0)[0])
        causes: dict[_Question, str] = {}
        for key in [key for key, answer in self._pending.items() if answer in answered]:
            with self._survived(f"a question to an actor ({wanted[key]})"):
                if cause := _cause_of_death(self._pending.pop(key)):
                    causes[key] = cause
        for role in roles:
            for number, handle in enumerate(role.handles):
                if cause := causes.get((handle, role.question)):
                    actor = f"{role.name} {number} of {len(role.handles)}"
                    return f"{actor} died; its in-flight work is lost. {RESUME} {cause}"
        return None

    def wait(self, patience_seconds: float = PATIENCE_SECONDS) -> str | None:
        """`look` repeatedly for `patience_seconds`; None if no actor died."""
        until = time.monotonic() + patience_seconds
        while (death := self.look()) is None and time.monotonic() < until:
            time.sleep(ASK_AGAIN_SECONDS)
        return death


def _cause_of_death(answer: ray.ObjectRef) -> str | None:
    """Cause of death from an actor's answer or from Ray; None if it is alive or may come back.

    Raises:
        RayTaskError: the question failed in the actor, which is therefore alive.
    """
    try:
        cause: str | None = ray.get(answer)
    except RayTaskError:  # first: it is also an instance of what the question raised
        raise
    except ActorDiedError as error:
        return f"Ray says: {' '.join(str(error).split())}"
    except RayActorError:
        return None  # unreachable for now: Ray retries
    return cause
