"""A thread that does jobs one after the other, beside a training that must wait for none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

SECONDS_AT_END = 60.0


class Worker(Generic[T]):
    """Does jobs in their order. A few may wait, and further ones are refused: what hangs must not fill the memory."""

    def __init__(self, name: str, do: Callable[[T], None], pending: int):
        """
        Args:
            name: of the thread.
            do: does one job; it must not raise.
            pending: number of jobs that may wait.
        """
        self._do = do
        self._jobs: Queue[tuple[T] | None] = Queue(maxsize=pending)
        # A daemon: a job that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether no job waits; one may be under way."""
        return self._jobs.empty()

    def offer(self, job: T) -> bool:
        """Queue a job; returns at once, with False if it is refused."""
        try:
            self._jobs.put_nowait((job,))
        except Full:
            return False
        return True

    def close(self) -> None:
        """Wait until all jobs are done, for a limited time."""
        if not self._thread.is_alive():
            return
        try:
            self._jobs.put(None, timeout=SECONDS_AT_END)
        except Full:
            return
        self._thread.join(SECONDS_AT_END)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(*job)
