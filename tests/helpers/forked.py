"""Modules run as `python -m` in processes that have imported verl already: one process imports it, and forks for each.

An import of verl's main costs ten seconds and more. What a process imports at its start is not what a fork can show:
tests of that start processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

SERVER = """
import importlib, json, os, runpy, sys, traceback

importlib.import_module(sys.argv[1])
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        for number in (1, 2):
            os.dup2(os.open(job["outputs"][number - 1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(job["cwd"])
        sys.argv = [job["module"], *job["arguments"]]
        sys.modules.pop(job["module"], None)
        status = 0
        try:
            runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)
"""


@dataclass(frozen=True)
class Job:
    """A module, its arguments, the folder it runs in, and the files for its output and errors."""

    module: str
    arguments: list[str]
    cwd: str
    outputs: list[str]


class Forks:
    """A process that has imported a module and forks where that is to be run."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def run(self, module: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess:
        """Run `python -m MODULE ARGUMENT...` in a folder, which gets two files with what it prints."""
        outputs = [folder / "stdout.txt", folder / "stderr.txt"]
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(Job(module, arguments, str(folder), [*map(str, outputs)]))) + "\n")
        self._process.stdin.flush()
        status = json.loads(self._process.stdout.readline())
        return subprocess.CompletedProcess(arguments, status, *(path.read_text() for path in outputs))


@contextmanager
def forks_of(module: str) -> Iterator[Forks]:
    """A process that has imported a module."""
    command = [sys.executable, "-c", SERVER, module]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process)
