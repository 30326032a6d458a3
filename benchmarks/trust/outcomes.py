"""Tests and commands that run in other environments: a pytest plugin that writes down what became of each test, its
reader, and a process group that ends with all that it started.

JUnit's report is written when the session ends, so a process that crashed or ran out of time leaves none. Here each
test is a line of JSON as soon as it begins and as soon as it is over. The last line says whether this project's plugin
was in the process. Only pytest and the standard library are imported, since the tests may be anybody's.

    PYTHONPATH=benchmarks python -m pytest -p trust.outcomes --outcomes runs/outcomes.jsonl
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RESULTS = ("unfinished", "passed", "skipped", "failed")  # of a test's phases the one that stands last here counts
PATIENCE_SECONDS = 30.0
_PLUGIN = "rest_verl.plugin.hooks"


@dataclass(frozen=True)
class Outcome:
    """What became of a test: `result`, one of RESULTS (`unfinished` if its process ended before it did), and the type
    of error that it `raised` if it failed."""

    result: str
    raised: str = ""

    def __str__(self) -> str:
        return f"{self.result} ({self.raised})" if self.raised else self.result


@dataclass(frozen=True)
class Process:
    """Whether, when the session ended, `verl` was imported in the process of the tests, whether the `plugin` that
    verl's entry point names was, and whether this package was `importable`."""

    verl: bool
    plugin: bool
    importable: bool


@dataclass(frozen=True)
class Record:
    """The outcomes of a run by test id, and its process; None if the session did not come to its end."""

    outcomes: dict[str, Outcome]
    process: Process | None


def read_record(path: Path) -> Record:
    """Read what the plugin wrote; nothing if the process ended before it could."""
    outcomes: dict[str, Outcome] = {}
    process = None
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for message in map(json.loads, lines):
        if "process" in message:
            process = Process(**message["process"])
            continue
        test, found = message.pop("test"), Outcome(**message)
        if test not in outcomes or RESULTS.index(found.result) > RESULTS.index(outcomes[test].result):
            outcomes[test] = found
    return Record(outcomes, process)


def counted(outcomes: Mapping[str, Outcome]) -> str:
    """Numbers of tests that passed, failed and so on, for a table."""
    counts = Counter(outcome.result for outcome in outcomes.values())
    said = [f"{counts[result]} {result}" for result in ("passed", "failed", "skipped", "unfinished") if counts[result]]
    return ", ".join(said) or "none"


def differences(one: Mapping[str, Outcome], other: Mapping[str, Outcome]) -> dict[str, tuple[str, str]]:
    """The tests whose result or type of error differs, each with both; `absent` if a run has no such test."""
    both = {test: (str(one.get(test, "absent")), str(other.get(test, "absent"))) for test in sorted({*one, *other})}
    return {test: pair for test, pair in both.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class Done:
    """A command that has ended: its status (of a signal negative), and what it printed."""

    status: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        """The last thing that it printed."""
        return ["nothing was printed", *f"{self.output}\n{self.errors}".strip().splitlines()][-1]


def run_group(command: list[str], folder: Path, seconds: float, **variables: str) -> Done:
    """Run a command in a folder until it ends or its time is over, in a process group that ends with it, Ray included.

    Args:
        command: begins with a program of an environment; its other commands come first on the PATH, no module comes
            from anywhere else, no model is looked for on a network, and a pytest in it does not take itself for a
            part of the one here.
        folder: to run it in.
        seconds: its time.
        variables: of its environment, on top of those of this process.
    """
    left_out, programs = ("PYTHONPATH", "PYTHONHOME", "PYTEST_"), Path(command[0]).parent
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    inherited |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(programs.parent)}
    given = inherited | {"HF_HUB_OFFLINE": "1"} | variables
    # files, since what a Ray that outlives the command holds of a pipe would keep its reader waiting
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=errors, env=given, start_new_session=True
        )
        # Being stopped from outside must not leave the group behind: turned into an exception it passes the clean-up.
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        finally:
            for kind in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, kind)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_SECONDS)
            signal.signal(signal.SIGTERM, previous)
        printed = []
        for file in (output, errors):
            file.seek(0)
            printed.append(file.read().decode(errors="replace"))
        return Done(process.returncode, *printed)


def run_pytest(command: list[str], found: Path, folder: Path, seconds: float, **variables: str) -> tuple[Done, Record]:
    """Run pytest by a command that loads this module as its plugin, and read what became of each test.

    Args:
        command: without the plugin's options.
        found: file for the outcomes; what the tests print is next to it, as `.log`.
    """
    found.parent.mkdir(parents=True, exist_ok=True)
    found.unlink(missing_ok=True)
    options = ["--outcomes", str(found), "-p", "no:cacheprovider"]
    done = run_group([*command, *options], folder, seconds, **variables)
    found.with_suffix(".log").write_text(f"{done.output}\n{done.errors}\n", encoding="utf-8")
    return done, read_record(found)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, required=True, help="file for the outcome of each test")


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # whose reports come to the process that started it
        config.pluginmanager.register(_Writer(config.getoption("outcomes")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if report.failed and call.excinfo is not None:
        report.user_properties.append(("raised", call.excinfo.typename))
    return report


class _Writer:
    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write({"test": nodeid, "result": "unfinished"})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            raised = str(dict(report.user_properties).get("raised", "")) if report.failed else ""
            self._write({"test": report.nodeid, "result": report.outcome, "raised": raised})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            kinds = re.findall(r"^E +(\w+)", report.longreprtext, re.MULTILINE) if report.failed else []
            self._write({"test": report.nodeid, "result": report.outcome, "raised": kinds[-1] if kinds else ""})

    def pytest_sessionfinish(self) -> None:
        importable = importlib.util.find_spec("rest_verl") is not None
        process = {"verl": "verl" in sys.modules, "plugin": _PLUGIN in sys.modules, "importable": importable}
        self._write({"process": process})
        self._file.close()

    def _write(self, message: dict[str, Any]) -> None:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()
