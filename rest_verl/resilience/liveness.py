"""Whether the processes that a run needs are alive: Ray knows of its actors, a vLLM server of its engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError

RESUME = (
    "The same command with trainer.resume_mode=auto, verl's default, goes on from the newest checkpoint, if there is "
    "one"
)
PATIENCE_SECONDS = 5.0  # for word that something has died, once it is known that something has failed
ASK_AGAIN_SECONDS = 0.2


def actor_itself(self: Any) -> None:
    """Question to an actor that is alive as long as it answers."""


def vllm_engine(server: Any) -> str | None:
    """Question to verl's vLLM server, whose engine is a process of its own: why it is of no use any more, or None."""
    return f"vLLM says: {server.engine.dead_error}" if server.engine.errored else None


@dataclass(frozen=True)
class Role:
    """Actors that do the same.

    Attributes:
        name: of one of them, in a message.
        handles: Ray's, of all of them.
        question: runs inside of each, on the object that it is; returns what it died of, or None.
    """

    name: str
    handles: Sequence[Any]
    question: Callable[[Any], str | None] = actor_itself


class Liveness:
    """Finds a process that has died.

    Args:
        roles: what has to be alive; asked at each look, for servers come and go.
    """

    def __init__(self, roles: Callable[[], Sequence[Role]]):
        self._roles = roles
        self._asked: dict[ActorHandle, ray.ObjectRef] = {}

    def look(self) -> str | None:
        """What to say of the first that has died, as far as is known by now; None if none has.

        One question at a time is put to an actor: it may be busy, and answers when it can.
        """
        roles = self._roles()
        self._asked = {
            handle: self._asked.get(handle) or handle.__ray_call__.remote(role.question)
            for role in roles
            for handle in role.handles
        }
        if not self._asked:
            return None
        answered = set(ray.wait([*self._asked.values()], num_returns=len(self._asked), timeout=0)[0])
        for role in roles:
            for number, handle in enumerate(role.handles):
                if self._asked[handle] in answered and (cause := _cause_of_death(self._asked.pop(handle))):
                    return (
                        f"{role.name} {number} of {len(role.handles)} has died, and what it was working on is lost. "
                        f"{RESUME}. {cause}"
                    )
        return None

    def wait(self, patience_seconds: float = PATIENCE_SECONDS) -> str | None:
        """What to say of one that has died, looking for so long; None if none has."""
        until = time.monotonic() + patience_seconds
        while (death := self.look()) is None and time.monotonic() < until:
            time.sleep(ASK_AGAIN_SECONDS)
        return death


def _cause_of_death(answer: ray.ObjectRef) -> str | None:
    """What an actor that answered, or cannot any more, died of."""
    try:
        cause: str | None = ray.get(answer)
    except ActorDiedError as error:
        return f"Ray says: {' '.join(str(error).split())}"
    except RayActorError:
        return None  # out of reach for now, which Ray retries
    return cause
