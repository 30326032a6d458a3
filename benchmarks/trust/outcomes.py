"""Tests and commands that run in other environments: what became of each test by pytest's own report in JUnit's XML,
what was loaded in its process, and a process group that ends with all that it started.

pytest loads this module as a plugin for the second, so it imports nothing but the standard library: the tests may be
anybody's. A session that crashed or ran out of time leaves neither report.

    PYTHONPATH=benchmarks python -m pytest -p trust.outcomes --junit-xml runs/outcomes.xml
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
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Process:
    """Whether, when the session ended, `verl` was imported in the process of the tests, whether the `plugin` that
    verl's entry point names was, and whether this package was `importable`."""

    verl: bool
    plugin: bool
    importable: bool


@dataclass(frozen=True)
class Record:
    """What became of the tests of a run by their ids (`passed`, `skipped`, or `failed` with the type of the error),
    and its process; None if the session did not come to its end."""

    outcomes: dict[str, str]
    process: Process | None


def read_record(report: Path) -> Record:
    """Read what pytest and this module as its plugin wrote."""
    process = report.with_suffix(".json")
    if not process.exists():
        return Record({}, None)
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test = f"{case.get('classname')}::{case.get('name')}"
        said = next((_said(part) for part in case if part.tag in ("failure", "error", "skipped")), "passed")
        # of a test's phases, each of which has a line of its own, the one that failed counts
        outcomes[test] = max(said, outcomes.get(test, said), key=lambda one: one.startswith("failed"))
    return Record(outcomes, Process(**json.loads(process.read_text())))


def _said(part: ElementTree.Element) -> str:
    if part.tag == "skipped":
        return "skipped"
    message = re.sub(r'^failed on (setup|teardown) with "', "", part.get("message", ""))
    if message == "collection failure":
        message = [message, *re.findall(r"^E +(\w.*)", part.text or "", re.MULTILINE)][-1]
    kind = re.match(r"(?:\w+\.)*(\w+)(?::|$)", message)
    return f"failed ({kind[1] if kind else 'AssertionError'})"  # of an assert pytest says only what was asserted


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


def run_pytest(
    command: list[str], report: Path, folder: Path, seconds: float, **variables: str
) -> tuple[Done, Record]:
    """Run pytest by a command that loads this module as its plugin, and read what became of each test.

    Args:
        command: without further options of pytest.
        report: file for the outcomes; what the tests print is next to it, as `.log`.
    """
    for old in (report, report.with_suffix(".json")):
        old.unlink(missing_ok=True)
    done = run_group([*command, "--junit-xml", str(report), "-p", "no:cacheprovider"], folder, seconds, **variables)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.with_suffix(".log").write_text(f"{done.output}\n{done.errors}\n", encoding="utf-8")
    return done, read_record(report)


def pytest_sessionfinish(session: Any) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # whose reports come to the process that started it
        return
    found = Process(
        verl="verl" in sys.modules,
        plugin="rest_verl.plugin.hooks" in sys.modules,
        importable=importlib.util.find_spec("rest_verl") is not None,
    )
    report = Path(session.config.option.xmlpath)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.with_suffix(".json").write_text(json.dumps(asdict(found)))
