"""Ends a run that would wait forever.

verl's trainer polls the transfer queue until enough trajectories arrive, without a limit. Trajectories of a killed
agent-loop worker or of a tool that hangs never arrive. After the death of a reward worker, its share of every batch is
lost. verl's asynchronous trainers replace failed prompts, also without a limit. Workers that send weights to an
inference server wait for its reply even if it is dead, and every access to the queue waits for its controller.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from itertools import chain
from typing import TYPE_CHECKING, Any

from rest_verl.common.logs import logger_of
from rest_verl.resilience.interrupt import StalledRunError
from rest_verl.resilience.liveness import RESUME, Liveness

if TYPE_CHECKING:
    from verl import DataProto
    from verl.checkpoint_engine import CheckpointEngineManager
    from verl.experimental.agent_loop import AgentLoopManager
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

# A run ends after this many batches of prompts have failed in a row, for this many seconds: all prompts in flight may
# fail at once, and a service that a reward function calls may be down for some minutes.
FAILED_BATCHES, FAILING_SECONDS = 4, 600.0

logger = logger_of(__name__)


class Watchdog:
    """Checks at each poll of the replay buffer.

    Args:
        liveness: liveness of the actors that produce trajectories.
        stall_seconds: longest time in seconds without a new trajectory; None disables.
        batch_size: number of prompts of a training batch.
    """

    def __init__(self, liveness: Liveness, stall_seconds: float | None, batch_size: int):
        self._liveness = liveness
        self._stall_seconds = stall_seconds
        self._max_failures = FAILED_BATCHES * batch_size
        self._failing_seconds = FAILING_SECONDS if stall_seconds is None else min(stall_seconds, FAILING_SECONDS)
        self._seen: tuple[frozenset[str], frozenset[str]] | None = None
        self._waited = 0.0
        self._finished: frozenset[str] = frozenset()
        self._failures, self._failing_since = 0, 0.0

    def look(self, arrived: Collection[str], unfinished: Collection[str], seconds: float) -> None:
        """Check once.

        Args:
            arrived: keys of the trajectories in the queue.
            unfinished: keys of the prompts with missing trajectories.
            seconds: time since the previous check. Time between two waits does not count: the second wait starts with
                other keys.

        Raises:
            StalledRunError: an actor died, or nothing arrived for too long.
        """
        if (death := self._liveness.look()) is not None:
            raise StalledRunError(death)
        if (seen := (frozenset(arrived), frozenset(unfinished))) != self._seen:
            self._seen, self._waited = seen, 0.0
            return
        self._waited += seconds
        if self._stall_seconds is not None and self._waited >= self._stall_seconds:
            raise StalledRunError(
                f"no trajectory arrived in {self._waited:.0f} s, unfinished prompts: {len(unfinished)}, and every "
                "worker is alive. A tool, a reward function or an inference server does not respond: limit its time, "
                "or raise rest.stall_seconds (null disables) if trajectories really take this long. "
                f"{RESUME}"
            )

    def look_at_failures(self, failed: Collection[str], finished: Collection[str], now: float) -> None:
        """Count prompts that verl is about to replace.

        Args:
            failed: keys of the prompts with a trajectory that failed since the previous call.
            finished: keys of the prompts whose trajectories are all in the queue.
            now: current time in seconds, on any clock.

        Raises:
            StalledRunError: too many prompts failed for too long, and none was finished.
        """
        if not self._failures or not self._finished.issuperset(finished):
            self._failures, self._failing_since = 0, now
        self._finished = frozenset(finished)
        self._failures += len(failed)
        seconds = now - self._failing_since
        if self._failures >= self._max_failures and seconds >= self._failing_seconds:
            raise StalledRunError(
                f"{self._failures} prompts failed in a row within {seconds:.0f} s, and every worker is alive. An "
                "inference server, a tool or a reward function raises: see the log after each `Error in _run_prompt`. "
                f"{RESUME}"
            )


def watch(buffer: ReplayBuffer, watchdog: Watchdog) -> ReplayBuffer:
    """Let a watchdog check each poll of a replay buffer, and the prompts that it replaces.

    A sampler of the user's own that does not poll as verl's buffers do cannot be watched: a warning says so.
    """
    if missing := _missing_for_watching(buffer):
        logger.warning(
            "%s cannot be watched: it has no %s as verl's ReplayBuffer has. The run goes on; if a worker dies while "
            "it waits for trajectories, it waits without end",
            type(buffer).__name__,
            ", ".join(missing),
        )
        return buffer
    wait, replace = buffer._wait_for_next_poll, buffer._evict_terminal_groups

    def look_and_wait(partition_id: str, last_debug_time: float) -> float:
        keys = (kind.get(partition_id, ()) for kind in (buffer.pending_keys, buffer.running_keys))
        watchdog.look(buffer.partitions.get(partition_id, ()), {*chain(*keys)}, buffer.poll_interval)
        return wait(partition_id, last_debug_time)

    def look_and_replace(
        global_steps: int, partition_id: str, eviction_reasons: tuple[set[str], set[str], set[str], Counter]
    ) -> tuple[set[str], int, int, dict[str, Any]]:
        _, _, failed, _ = eviction_reasons
        watchdog.look_at_failures(failed, buffer.finished_keys.get(partition_id, ()), time.monotonic())
        return replace(global_steps, partition_id, eviction_reasons)

    buffer._wait_for_next_poll = look_and_wait  # type: ignore[method-assign]
    buffer._evict_terminal_groups = look_and_replace  # type: ignore[method-assign]
    return buffer


_METHODS = {
    "_wait_for_next_poll": ["partition_id", "last_debug_time"],
    "_evict_terminal_groups": ["global_steps", "partition_id", "eviction_reasons"],
}
_KEYS = ("partitions", "pending_keys", "running_keys", "finished_keys")


def _missing_for_watching(buffer: Any) -> list[str]:
    """What of verl's ReplayBuffer `watch` needs and a sampler lacks."""
    methods = [
        name
        for name, parameters in _METHODS.items()
        if not callable(method := getattr(buffer, name, None)) or list(signature(method).parameters) != parameters
    ]
    keys = [name for name in _KEYS if not isinstance(getattr(buffer, name, None), Mapping)]
    return [*methods, *keys, *(["poll_interval"] if not hasattr(buffer, "poll_interval") else [])]


@contextmanager
def explain_failures(liveness: Liveness) -> Iterator[None]:
    """Replace an error of the block by a StalledRunError that names the dead process, if one died: the first symptom
    of a death may be any error, such as an empty batch."""
    try:
        yield
    except StalledRunError:
        raise
    except Exception as error:
        if (death := liveness.wait()) is not None:
            raise StalledRunError(death) from error
        raise


class Guard:
    """Checks in a separate thread, for waits of the trainer itself.

    Args:
        always: liveness of the actors without which the run cannot go on at any time.
        servers: liveness of the inference servers, checked during transfers of weights only.
        stall_seconds: longest time in seconds for one of the watched waits; None disables.
    """

    def __init__(self, always: Liveness, servers: Liveness, stall_seconds: float | None):
        self._always, self._servers = always, servers
        self._stall_seconds = stall_seconds
        self._since: dict[str, float] = {}  # beginning of each wait that is under way

    def watch_transfers(self, manager: CheckpointEngineManager) -> None:
        """Note the start and end of each transfer of weights of a manager."""
        update = manager.update_weights

        def timed_update(global_steps: int | None = None) -> dict[str, Any]:
            with self._waiting("transfer"):
                return update(global_steps)

        manager.update_weights = timed_update

    def watch_rollouts(self, manager: AgentLoopManager) -> None:
        """Note the start and end of each batch of rollouts of a manager that returns them all at once."""
        generate = manager.generate_sequences

        def timed_generate(prompts: DataProto) -> DataProto:
            with self._waiting("rollouts"):
                return generate(prompts)

        manager.generate_sequences = timed_generate

    def look(self) -> str | None:
        """Why the trainer would wait forever, or None."""
        if (death := self._always.look()) is not None:
            return death
        if (since := self._since.get("transfer")) is not None:
            if (death := self._servers.look()) is not None:
                return death
            if self._too_long(seconds := time.monotonic() - since):
                return (
                    f"weights have not reached the inference servers in {seconds:.0f} s, and all servers are alive. "
                    "See their logs for the cause, or raise rest.stall_seconds (null disables) if a transfer really "
                    f"takes this long. {RESUME}"
                )
        if (since := self._since.get("rollouts")) is not None and self._too_long(seconds := time.monotonic() - since):
            return (
                f"a batch of rollouts has not finished in {seconds:.0f} s, and every worker is alive. A tool, a "
                "reward function or an inference server does not respond: limit its time, or raise rest.stall_seconds "
                f"(null disables) if a batch really takes this long. {RESUME}"
            )
        return None

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        self._since[what] = time.monotonic()
        try:
            yield
        finally:
            self._since.pop(what, None)

    def _too_long(self, seconds: float) -> bool:
        return self._stall_seconds is not None and seconds >= self._stall_seconds
