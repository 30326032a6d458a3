"""A thread that kills one process of a training, found by its name or command line, at a chosen moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
from verl_run import read_metrics

AMID_ROLLOUT = 2.0  # seconds after a step


class Killer(threading.Thread):
    """Kills a process below this one once; `at` is when it did, or None.

    Args:
        begins: how the name or the command line of the process begins.
        metrics: verl's log of steps.
        wait: seconds before it kills, from when the process is there and, with `after_step`, a step is logged.
    """

    def __init__(self, begins: str, metrics: Path, wait: float = AMID_ROLLOUT, after_step: bool = True):
        super().__init__(daemon=True)
        self._begins, self._metrics, self._wait, self._after_step = begins, metrics, wait, after_step
        self._over = threading.Event()
        self.at: float | None = None

    def run(self) -> None:
        while not self._over.wait(0.2):
            if (self._after_step and not read_metrics(self._metrics)) or (found := named(self._begins)) is None:
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
