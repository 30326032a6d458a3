"""Work that the driver does while it waits for its workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """A function that runs in a thread of its own.

    The thread is a daemon: a thread that waits for a dead queue must not keep the process from ending. Like every wait
    of the main thread, the wait for the result can be interrupted (`resilience.interrupt`).
    """

    def __init__(self, function: Callable[[], T]):
        self._future: Future[T] = Future()
        Thread(target=self._run, args=(function,), daemon=True).start()

    def result(self) -> T:
        """Wait for the function and return its result; raises what the function raised."""
        return self._future.result()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self._future.set_result(function())
        except BaseException as error:  # of any type: `result` raises it in the main thread
            self._future.set_exception(error)
