"""What became of each test of a pytest run: a plugin of pytest that writes it down as it happens, and its reader.

JUnit's report is written when the session ends, so a process that crashed or ran out of time leaves none. Here each
test is a line of JSON as soon as it begins and as soon as it is over. The last line says whether this project's plugin
was in the process. Nothing but pytest and the standard library is imported, for the tests may be anybody's.

    PYTHONPATH=benchmarks python -m pytest -p trust.outcomes --outcomes runs/outcomes.jsonl
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RESULTS = ("unfinished", "passed", "skipped", "failed")  # of a test's phases the one that stands last here counts
_PLUGIN = "rest_verl.plugin.hooks"


@dataclass(frozen=True)
class Outcome:
    """What became of a test.

    Attributes:
        result: one of RESULTS; `unfinished` where its process ended before it did.
        raised: kind of the error of a test that failed, such as ValueError; empty for any other.
    """

    result: str
    raised: str = ""

    def __str__(self) -> str:
        return f"{self.result} ({self.raised})" if self.raised else self.result


@dataclass(frozen=True)
class Process:
    """What was imported in the process of the tests when the session ended.

    Attributes:
        verl: whether verl was.
        plugin: whether what verl's entry point names was.
        importable: whether this package could be imported there.
    """

    verl: bool
    plugin: bool
    importable: bool


@dataclass(frozen=True)
class Record:
    """The outcomes of a run by the id of the test, and its process; None where the session did not come to its end."""

    outcomes: dict[str, Outcome]
    process: Process | None


def read_record(path: Path) -> Record:
    """Read what the plugin wrote; nothing where a process ended before it could."""
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
    """How many tests passed, failed and so on, as a reader wants it."""
    counts = Counter(outcome.result for outcome in outcomes.values())
    said = [f"{counts[result]} {result}" for result in ("passed", "failed", "skipped", "unfinished") if counts[result]]
    return ", ".join(said) or "none"


def differences(one: Mapping[str, Outcome], other: Mapping[str, Outcome]) -> dict[str, tuple[str, str]]:
    """The tests whose result or kind of error differs, each with both; `absent` where a run has no such test."""
    both = {test: (str(one.get(test, "absent")), str(other.get(test, "absent"))) for test in sorted({*one, *other})}
    return {test: pair for test, pair in both.items() if pair[0] != pair[1]}


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
