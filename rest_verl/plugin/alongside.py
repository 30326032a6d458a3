"""Work of the driver that is done while it waits for its workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Alongside(Generic[T]):
    """A function that runs in a thread of its own.

    The thread is a daemon: work that waits for a queue which has died must not keep the process from ending. The wait
    for it can be interrupted like every wait of the main thread (`resilience.interrupt`).
    """

    def __init__(self, function: Callable[[], T]):
        self._future: Future[T] = Future()
        Thread(target=self._run, args=(function,), daemon=True).start()

    def result(self) -> T:
        """Wait for the function: what it returned; raises what it raised."""
        return self._future.result()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self._future.set_result(function())
        except BaseException as error:  # whatever it is, the main thread raises it
            self._future.set_exception(error)
