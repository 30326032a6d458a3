"""A command in a process group of its own, ended with all that it started, such as Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Done:
    """A command that has ended: its status (that of a signal is negative), what it said, and whether it was late."""

    status: int
    output: str
    errors: str
    late: bool

    @property
    def last_line(self) -> str:
        """The last thing that it said."""
        lines = f"{self.output}\n{self.errors}".strip().splitlines() or ["nothing was said"]
        return f"{lines[-1]} (ended as its time was over)" if self.late else lines[-1]


def run_group(command: list[str], folder: Path, seconds: float, variables: Mapping[str, str]) -> Done:
    """Run a command in a folder until it ends or its time is over.

    Args:
        seconds: its time.
        variables: its whole environment.
    """
    late = False
    # files, for what a Ray that outlives the command holds of a pipe would keep its reader waiting
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=errors, env=variables, start_new_session=True
        )
        # Being ended from outside must not leave the group behind: turned into an exception it passes the clean-up.
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
            signal.signal(signal.SIGTERM, previous)
        return Done(process.returncode, _said(output), _said(errors), late)


def _said(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
