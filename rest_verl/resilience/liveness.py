"""Liveness of the processes that a run needs: Ray knows its actors, and a vLLM server knows its engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError

RESUME = "Rerun the same command to resume from the latest checkpoint (trainer.resume_mode=auto, verl's default)."
PATIENCE_SECONDS = 5.0  # to wait for the news of a death after a failure
ASK_AGAIN_SECONDS = 0.2


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
        self._pending: dict[ActorHandle, ray.ObjectRef] = {}

    def look(self) -> str | None:
        """Message about the first actor that is known to have died; None if none has.

        Each actor has one pending question at a time: a busy actor answers later.
        """
        roles = self._roles()
        self._pending = {
            handle: self._pending.get(handle) or handle.__ray_call__.remote(role.question)
            for role in roles
            for handle in role.handles
        }
        if not self._pending:
            return None
        answered = set(ray.wait([*self._pending.values()], num_returns=len(self._pending), timeout=0)[0])
        for role in roles:
            for number, handle in enumerate(role.handles):
                if self._pending[handle] in answered and (cause := _cause_of_death(self._pending.pop(handle))):
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
    """Cause of death from an actor's answer or from Ray; None if it is alive or may come back."""
    try:
        cause: str | None = ray.get(answer)
    except ActorDiedError as error:
        return f"Ray says: {' '.join(str(error).split())}"
    except RayActorError:
        return None  # unreachable for now: Ray retries
    return cause
