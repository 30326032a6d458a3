"""Ends a run that would wait for ever.

verl's trainer polls the transfer queue until enough trajectories have arrived. Those of an agent-loop worker that was
killed never do, nor those of a tool that does not answer, and nothing in verl bounds the wait. What a reward worker
would have scored is lost batch after batch; where verl replaces prompts that fail, as its asynchronous trainers do, it
does so without a limit. Workers that hand weights to an inference server wait for its word, dead or not, and so does
everybody for the queue's controller.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rest_verl.resilience.interrupt import StalledRunError
from rest_verl.resilience.liveness import RESUME, Liveness

if TYPE_CHECKING:
    from verl.checkpoint_engine import CheckpointEngineManager
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

# A run ends when so many batches' worth of prompts have failed one after the other, for so long: what is in flight may
# fail all at once, and what a reward function asks may be out of reach for some minutes.
FAILED_BATCHES, FAILING_SECONDS = 4, 600.0


class Watchdog:
    """What a poll of the replay buffer looks at.

    Args:
        liveness: of the actors that trajectories need.
        stall_seconds: so long may nothing arrive; None for ever.
        batch_size: prompts of a training batch.
    """

    def __init__(self, liveness: Liveness, stall_seconds: float | None, batch_size: int):
        self._liveness = liveness
        self._stall_seconds = stall_seconds
        self._most_failures = FAILED_BATCHES * batch_size
        self._failing_seconds = FAILING_SECONDS if stall_seconds is None else min(stall_seconds, FAILING_SECONDS)
        self._seen: tuple[frozenset[str], frozenset[str]] | None = None
        self._waited = 0.0
        self._finished: frozenset[str] = frozenset()
        self._failures, self._failing_since = 0, 0.0

    def look(self, arrived: Collection[str], unfinished: Collection[str], seconds: float) -> None:
        """Look once.

        Args:
            arrived: keys of the trajectories in the queue.
            unfinished: keys of the prompts of which some are still to come.
            seconds: how long after the look before this one. Time between two waits is not counted: the second finds
                other keys.

        Raises:
            StalledRunError: an actor has died, or nothing arrived for too long.
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
                "worker is alive. A tool, a reward function or an inference server does not answer: bound its time, "
                "or raise rest.stall_seconds (null waits for ever) if trajectories do take so long. "
                f"{RESUME}"
            )

    def look_at_failures(self, failed: Collection[str], finished: Collection[str], now: float) -> None:
        """Count prompts that verl is about to replace.

        Args:
            failed: keys of those of which a trajectory failed since the last time.
            finished: keys of those that are in the queue with all of their trajectories.
            now: seconds, by any clock.

        Raises:
            StalledRunError: for too long too many failed and none was finished.
        """
        if not self._failures or not self._finished.issuperset(finished):
            self._failures, self._failing_since = 0, now
        self._finished = frozenset(finished)
        self._failures += len(failed)
        seconds = now - self._failing_since
        if self._failures >= self._most_failures and seconds >= self._failing_seconds:
            raise StalledRunError(
                f"{self._failures} prompts have failed one after the other in {seconds:.0f} s, and every worker is "
                "alive. An inference server, a tool or a reward function raises: the log has what, after each `Error "
                f"in _run_prompt`. {RESUME}"
            )


def watch(buffer: ReplayBuffer, watchdog: Watchdog) -> ReplayBuffer:
    """Let a watchdog look at each poll of a replay buffer, and at the prompts that it replaces."""
    wait, replace = buffer._wait_for_next_poll, buffer._evict_terminal_groups

    def look_and_wait(partition_id: str, last_debug_time: float) -> float:
        unfinished = buffer.pending_keys[partition_id] | buffer.running_keys[partition_id]
        watchdog.look(buffer.partitions[partition_id], unfinished, buffer.poll_interval)
        return wait(partition_id, last_debug_time)

    def look_and_replace(
        global_steps: int, partition_id: str, eviction_reasons: tuple[set[str], set[str], set[str], Counter]
    ) -> tuple[set[str], int, int, dict[str, Any]]:
        _, _, failed, _ = eviction_reasons
        watchdog.look_at_failures(failed, buffer.finished_keys[partition_id], time.monotonic())
        return replace(global_steps, partition_id, eviction_reasons)

    buffer._wait_for_next_poll = look_and_wait  # type: ignore[method-assign]
    buffer._evict_terminal_groups = look_and_replace  # type: ignore[method-assign]
    return buffer


@contextmanager
def explained(liveness: Liveness) -> Iterator[None]:
    """Where something fails because a process has died, raise a StalledRunError that names it: what meets first with
    that may be anything, such as a batch of which nothing arrived."""
    try:
        yield
    except StalledRunError:
        raise
    except Exception as error:
        if (death := liveness.wait()) is not None:
            raise StalledRunError(death) from error
        raise


class Guard:
    """What a thread beside the trainer looks at: the trainer itself may be the one that waits.

    Args:
        queue: liveness of what the trainer asks without a limit at any time.
        servers: liveness of the inference servers, which matters to it during a transfer of weights.
        stall_seconds: so long may a transfer take; None for ever.
    """

    def __init__(self, queue: Liveness, servers: Liveness, stall_seconds: float | None):
        self._queue, self._servers = queue, servers
        self._stall_seconds = stall_seconds
        self._transfer_since: float | None = None

    def of_transfers(self, manager: CheckpointEngineManager) -> None:
        """Take note of each transfer of weights of a manager."""
        update = manager.update_weights

        def noted_update(global_steps: int | None = None) -> dict[str, Any]:
            self._transfer_since = time.monotonic()
            try:
                return update(global_steps)
            finally:
                self._transfer_since = None

        manager.update_weights = noted_update

    def look(self) -> str | None:
        """Why what the trainer waits for will not come, or None."""
        since = self._transfer_since
        if (death := self._queue.look()) is not None or since is None:
            return death
        if (death := self._servers.look()) is not None:
            return death
        seconds = time.monotonic() - since
        if self._stall_seconds is None or seconds < self._stall_seconds:
            return None
        return (
            f"weights have not reached the inference servers in {seconds:.0f} s, and every one of them is alive. The "
            "log of one may say why; raise rest.stall_seconds (null waits for ever) if a transfer does take so long. "
            f"{RESUME}"
        )
