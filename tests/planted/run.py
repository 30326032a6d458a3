"""Plants faults one by one in a copy of the package and runs the test that is to catch each: the fast tier's own test.

    python tests/planted/run.py

Needs what the tests need. Nothing in the checkout is changed. Each fault gets a process of its own, forked from one
that has imported torch, Ray and verl but nothing of this package, so that the import, most of the time of a test, is
paid once. Exit status 1 where a fault is not caught, or where a test does not pass without it.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import pytest
import typer
from catalogue import FAULTS
from planting import ROOT, SLOW_MARKS, Planted, copy_checkout, planted
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

# Heavy, and nothing of this package. Of verl no module that takes by name what this package wraps (`plugin.hooks`).
PRELOADED = (
    *("torch", "tensordict", "transformers.convert_slow_tokenizer", "tokenizers", "ray.util.state", "transfer_queue"),
    *("pyarrow.parquet", "pandas", "scipy.optimize", "datasets", "accelerate", "fastapi", "hydra.utils", "pydantic"),
    *("pydantic.dataclasses", "jinja2.sandbox", "hypothesis.strategies", "pytest_timeout", "wrapt"),
    *("verl.trainer.ppo.v1", "verl.experimental.agent_loop", "verl.experimental.reward_loop.reward_manager"),
)
SECONDS_PER_TEST = 120  # on a busy machine; a fault may make a test wait for ever
_PLUGINS = "VERL_USE_EXTERNAL_PLUGINS"


@dataclass
class Outcome:
    """What a process of pytest reported.

    Attributes:
        passed, failed: node ids.
        broken: why there is no verdict: the test could not be collected, was left out, or the process broke off.
        seconds: of the whole process.
    """

    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    broken: str = ""
    seconds: float = 0.0


class Reporter:
    """pytest plugin that notes how each test ended."""

    def __init__(self) -> None:
        self.outcome = Outcome()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if not any(item.get_closest_marker(mark) for mark in SLOW_MARKS)]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.outcome.broken = f"{report.nodeid} cannot be collected"

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.outcome.failed.add(report.nodeid)
        elif report.skipped:
            self.outcome.broken = f"{report.nodeid} was skipped"
        elif report.when == "call":
            self.outcome.passed.add(report.nodeid)


def run_tests(copy: Path, tests: Sequence[str], log: Path, pipe: Connection) -> None:
    """Run tests in this process, which was forked for it, on the package of a copy."""
    with log.open("w") as sink:
        for descriptor in (1, 2):
            os.dup2(sink.fileno(), descriptor)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if os.environ.pop(_PLUGINS) != "none":
        raise RuntimeError("verl has loaded the plugin before the fault was there")
    import_module("rest_verl.plugin.hooks")  # as verl would have done on import
    reporter = Reporter()
    options = ["--assert=plain", "--tb=short", "-p", "no:cacheprovider"]  # to explain a long text would take minutes
    options += ["-p", "pytest_timeout", "-o", f"timeout={SECONDS_PER_TEST}"]
    pytest.main([*options, *(["-x"] if len(tests) == 1 else []), *tests], plugins=[reporter])
    loaded = {Path(module.__file__) for name, module in sys.modules.items() if name == "rest_verl" and module.__file__}
    if loaded != {copy / "rest_verl" / "__init__.py"}:
        reporter.outcome.broken = f"the package came from {loaded}"
    elif not reporter.outcome.passed | reporter.outcome.failed and not reporter.outcome.broken:
        reporter.outcome.broken = "no test of the fast tier was run"
    pipe.send(reporter.outcome)
    pipe.close()
    sys.stdout.flush()
    os._exit(0)  # what a test left running must not hold the fork up


@dataclass(frozen=True)
class Job:
    """Tests to run in one process, with a fault or without."""

    tests: Sequence[str]
    fault: Planted | None = None


class Running:
    """A job on its way in a copy, which has the job's fault until `end`."""

    def __init__(self, job: Job, copy: Path, log: Path):
        self.job, self.copy = job, copy
        self._undo = ExitStack()
        if job.fault is not None:
            self._undo.enter_context(planted(job.fault, copy))
        context = get_context("fork")
        self._pipe, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=run_tests, args=(copy, job.tests, log, sender))
        self._began = time.monotonic()
        self._process.start()
        sender.close()

    @property
    def waits_for(self) -> list[Any]:
        """What shows that it has come to its end."""
        return [self._process.sentinel, self._pipe]

    def outcome(self) -> Outcome | None:
        """What came of it; None while it runs."""
        seconds = time.monotonic() - self._began
        found = Outcome()
        if self._pipe.poll():
            try:
                found = self._pipe.recv()
            except EOFError:
                found.broken = "the process broke off"
        elif not self._process.is_alive():
            found.broken = f"the process broke off with status {self._process.exitcode}"
        elif seconds > (len(self.job.tests) + 1) * SECONDS_PER_TEST:
            found.broken = f"no end in {seconds:.0f} s"
            self._process.kill()
        else:
            return None
        found.seconds = seconds
        return found

    def end(self) -> None:
        """Give the copy back as it was."""
        self._process.join()
        self._pipe.close()
        self._undo.close()


def run_jobs(jobs: Sequence[Job], folder: Path, processes: int, show: Progress) -> list[Outcome]:
    """Run every job in a process of its own, as many at a time as there are copies; the outcomes in their order."""
    free = [folder / f"copy{number}" for number in range(processes)]
    waiting = list(enumerate(jobs))
    running: dict[int, Running] = {}
    outcomes = [Outcome() for _ in jobs]
    kind = "with fault" if any(job.fault for job in jobs) else "without"
    task = show.add_task(kind, total=len(jobs))
    while waiting or running:
        while free and waiting:
            number, job = waiting.pop(0)
            copy = free.pop()
            running[number] = Running(job, copy, folder / f"{kind.replace(' ', '_')}.{number}.log")
        connection.wait([end for one in running.values() for end in one.waits_for], timeout=1.0)
        for number, one in list(running.items()):
            if (outcome := one.outcome()) is None:
                continue
            outcomes[number] = outcome
            one.end()
            free.append(one.copy)
            del running[number]
            if one.job.fault is not None and (said := verdict(one.job.fault, outcome)) != "caught":
                show.console.print(f"{one.job.fault.name}: {said}", markup=False)
            show.update(task, advance=1, refresh=True)
    return outcomes


def verdict(fault: Planted, with_fault: Outcome, unsound: Set[str] = frozenset()) -> str:
    """`caught`, or why not."""
    if fault.test in unsound:
        return "the test does not pass without the fault"
    return with_fault.broken or ("caught" if with_fault.failed else "not caught")


def without_faults(tests: Iterable[str], folder: Path, processes: int, show: Progress) -> set[str]:
    """The tests that do not pass on the package as it is, or do not run at all."""
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in sorted(set(tests)):
        by_file[test.partition("::")[0]].append(test)
    shares = [list(by_file.values())[number::processes] for number in range(processes)]
    jobs = [Job([test for group in share for test in group]) for share in shares if share]
    unsound: set[str] = set()
    for job, outcome in zip(jobs, run_jobs(jobs, folder, processes, show), strict=True):
        passed = {node.partition("[")[0] for node in outcome.passed}
        failed = {node.partition("[")[0] for node in outcome.failed}
        unsound |= set(job.tests) - (passed - failed)
    for test in sorted(unsound):
        show.console.print(f"{test}: does not pass without a fault", markup=False)
    return unsound


def preload() -> None:
    """Import what is heavy, without what verl says of each accelerator that is not there."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in PRELOADED:
            import_module(name)
    logging.disable(logging.NOTSET)


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Only faults with this text in their name, file or test. Repeatable.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Tests at a time.")] = 2,
    keep: Annotated[Path | None, typer.Option(help="Folder for the copies and the logs of pytest.")] = None,
) -> None:
    """Plant every fault in a copy, run the test that is to catch it, and print the table."""
    chosen = [
        fault for fault in FAULTS if any(text in f"{fault.name} {fault.file} {fault.test}" for text in only or [""])
    ]
    if not chosen:
        raise typer.BadParameter(f"--only {' '.join(only or ())}: no fault has this text")
    began = time.monotonic()
    os.environ |= {_PLUGINS: "none", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    console = Console(width=None if sys.stdout.isatty() else 180)
    with TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)).resolve()
        for number in range(processes):
            copy_checkout(folder / f"copy{number}")
        preload()
        gc.freeze()  # what was imported stays in memory that all processes share
        columns = (TextColumn("{task.description}"), MofNCompleteColumn())
        with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as show:
            unsound = without_faults([fault.test for fault in chosen], folder, processes, show)
            jobs = [Job([fault.test], fault) for fault in chosen]
            outcomes = run_jobs(jobs, folder, processes, show)
    verdicts = [verdict(fault, outcome, unsound) for fault, outcome in zip(chosen, outcomes, strict=True)]
    table = Table("fault", "file", "test", "", "s", title="planted faults", show_lines=False)
    for fault, outcome, said in zip(chosen, outcomes, verdicts, strict=True):
        style = "green" if said == "caught" else "bold red"
        test = fault.test.removeprefix("tests/")
        table.add_row(fault.name, fault.file, test, f"[{style}]{said}[/]", f"{outcome.seconds:.1f}")
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)
    caught = verdicts.count("caught")
    console.print(f"{caught} of {len(chosen)} faults caught in {time.monotonic() - began:.0f} s.")
    raise typer.Exit(int(caught < len(chosen)))


if __name__ == "__main__":
    if Path.cwd() != ROOT:
        os.chdir(ROOT)
    typer.run(main)
