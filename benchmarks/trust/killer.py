"""A thread that kills one process of a training, found by its name or command line, at a chosen moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil


class Killer(threading.Thread):
    """Kills a process below this one once; `at` is when it did, or None.

    Args:
        begins: how the name or the command line of the process begins.
        ready: whether the moment has come.
        wait: seconds before it kills, from that moment, or from when the process is there.
    """

    def __init__(self, begins: str, ready: Callable[[], object], wait: float = 0.0):
        super().__init__(daemon=True)
        self._begins, self._ready, self._wait = begins, ready, wait
        self._over = threading.Event()
        self.at: float | None = None

    def run(self) -> None:
        while not self._over.wait(0.2):
            if not self._ready() or (found := named(self._begins)) is None:
                continue
            if not self._over.wait(self._wait):
                found.kill()
                self.at = time.monotonic()
            return

    def end(self) -> None:
        """Kill no more."""
        self._over.set()
        self.join()


def named(begins: str) -> psutil.Process | None:
    """The first process below this one whose name or command line begins so."""
    for process in psutil.Process().children(recursive=True):
        try:
            if any(text.startswith(begins) for text in (" ".join(process.cmdline()), process.name())):
                return process
        except psutil.Error:
            continue  # it has ended meanwhile
    return None
