"""Ends a run that would wait for ever.

verl's trainer polls the transfer queue until enough trajectories have arrived. Those of an agent-loop worker that was
killed never do, nor those of a tool that does not answer, and nothing in verl bounds the wait. What a reward worker
would have scored is lost batch after batch. Here each poll looks whether the actors that trajectories need are alive
and how long ago the last trajectory arrived. A batch of which nothing arrived has its reason looked for too: all of it
may have failed between two polls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

Actors = Callable[[], Mapping[str, Sequence[ActorHandle]]]

RESUME = (
    "The same command with trainer.resume_mode=auto, verl's default, goes on from the newest checkpoint, if there is "
    "one"
)
PATIENCE_SECONDS = 5.0  # for Ray's word that an actor has died, once it is known that something has failed
ASK_AGAIN_SECONDS = 0.2


class StalledRunError(RuntimeError):
    """Trajectories that the trainer waits for will not arrive."""


class Watchdog:
    """What a poll looks at.

    Args:
        actors: the actors that trajectories need, by what they are called; asked at each look, for servers come and
            go.
        stall_seconds: so long may nothing arrive; None for ever.
    """

    def __init__(self, actors: Actors, stall_seconds: float | None):
        self._actors = actors
        self._stall_seconds = stall_seconds
        self._pings: dict[ActorHandle, ray.ObjectRef] = {}
        self._seen: tuple[frozenset[str], frozenset[str]] | None = None
        self._waited = 0.0

    def look(self, arrived: Collection[str], unfinished: Collection[str], seconds: float) -> None:
        """Look once.

        Args:
            arrived: keys of the trajectories in the queue.
            unfinished: keys of the prompts of which some are still to come.
            seconds: how long after the look before this one. Time between two waits is not counted: the second finds
                other keys.

        Raises:
            StalledRunError: see the module's docstring.
        """
        if (death := self._death()) is not None:
            raise StalledRunError(death)
        if (seen := (frozenset(arrived), frozenset(unfinished))) != self._seen:
            self._seen, self._waited = seen, 0.0
            return
        self._waited += seconds
        if self._stall_seconds is not None and self._waited >= self._stall_seconds:
            raise StalledRunError(
                f"no trajectory arrived in {self._waited:.0f} s, unfinished prompts: {len(unfinished)}, and every "
                "worker is alive. A tool, a reward function or an inference server does not answer: bound its time, "
                "or raise rest.stall_seconds (null waits for ever) if trajectories do take so long. "
                f"{RESUME}"
            )

    def look_for_death(self, patience_seconds: float = PATIENCE_SECONDS) -> str | None:
        """What to say of an actor that has died, waiting so long for Ray to say it; None if all are alive."""
        until = time.monotonic() + patience_seconds
        while (death := self._death()) is None and time.monotonic() < until:
            time.sleep(ASK_AGAIN_SECONDS)
        return death

    def _death(self) -> str | None:
        """What to say of the first actor of which Ray says by now that it has died."""
        for role, handles in self._actors().items():
            for number, handle in enumerate(handles):
                if (cause := self._cause_of_death(handle)) is not None:
                    return (
                        f"{role} {number} of {len(handles)} has died, and what it was working on is lost. {RESUME}. "
                        f"Ray says: {cause}"
                    )
        return None

    def _cause_of_death(self, handle: ActorHandle) -> str | None:
        """What Ray says of an actor that has died; None for one that has not, as far as is known.

        One question at a time is put to an actor: it may be busy, and answers when it can.
        """
        if handle not in self._pings:
            self._pings[handle] = handle.__ray_ready__.remote()
        ping = self._pings[handle]
        ready, _ = ray.wait([ping], timeout=0)
        if not ready:
            return None
        del self._pings[handle]
        try:
            ray.get(ping)
        except ActorDiedError as error:
            return " ".join(str(error).split())
        except RayActorError:
            return None  # out of reach for now, which Ray retries
        return None


def watch(buffer: ReplayBuffer, watchdog: Watchdog) -> ReplayBuffer:
    """Let a watchdog look at each poll of a replay buffer, and at each batch of which nothing arrived."""
    wait, sample = buffer._wait_for_next_poll, buffer.sample

    def look_and_wait(partition_id: str, last_debug_time: float) -> float:
        unfinished = buffer.pending_keys[partition_id] | buffer.running_keys[partition_id]
        watchdog.look(buffer.partitions[partition_id], unfinished, buffer.poll_interval)
        return wait(partition_id, last_debug_time)

    def sample_or_say_why_not(*args: Any, **kwargs: Any) -> tuple[KVBatchMeta, dict[str, Any]]:
        try:
            batch, metrics = sample(*args, **kwargs)
        except StalledRunError:
            raise
        except RuntimeError as error:  # verl's, of a training batch without one trajectory
            if (death := watchdog.look_for_death()) is not None:
                raise StalledRunError(death) from error
            raise
        # Of a validation batch verl takes nothing for an answer, and stumbles over it later.
        if not batch.keys and (death := watchdog.look_for_death()) is not None:
            raise StalledRunError(death)
        return batch, metrics

    buffer._wait_for_next_poll = look_and_wait  # type: ignore[method-assign]
    buffer.sample = sample_or_say_why_not
    return buffer
