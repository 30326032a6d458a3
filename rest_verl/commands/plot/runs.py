"""Which logs belong to which run: what `RUN` on the command line means."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rest_verl.commands.plot.logs import find_logs


@dataclass(frozen=True)
class Run:
    """One line of the picture.

    Attributes:
        name: in the legend.
        logs: one for each seed.
        passed_over: event files that hold what `logs` hold already.
    """

    name: str
    logs: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)


def runs_of(arguments: Sequence[str]) -> list[Run]:
    """The runs that `RUN ...` names, in their order.

    A RUN is a path or `NAME=PATH`. Every log found under one name is a seed of that run. A path may be a pattern, with
    `*` for any text and `**` for any folders. Without a name, each path is a run called by its last part.

    Raises:
        FileNotFoundError: a pattern matches nothing, or there is no log.
        ValueError: a log is given twice, or two paths without a name would be called the same.
    """
    runs: dict[str, Run] = {}
    named: set[str] = set()
    for argument in arguments:
        name, pattern = _split(argument)
        for path in _matches(argument, pattern):
            called = name or (path.resolve().stem if path.is_file() else path.resolve().name)
            if called in runs and not (name and called in named):
                raise ValueError(
                    f"{argument}: another run is called {called!r} already: give each a name, as in NAME={path}; "
                    "paths of one name are seeds of one run"
                )
            if name:
                named.add(name)
            _add(runs.setdefault(called, Run(called)), path)
    return list(runs.values())


def _split(argument: str) -> tuple[str, str]:
    """Name and pattern; the name is empty where none is given. An `=` behind a `/` is part of the path."""
    name, equals, pattern = argument.partition("=")
    if not equals or "/" in name or Path(argument).exists():
        return "", argument
    if not name or not pattern:
        raise ValueError(f"{argument!r}: expected a path, or NAME=PATH")
    return name, pattern


def _matches(argument: str, pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise FileNotFoundError(f"{argument}: {pattern} matches no file and no folder")
    return [Path(path) for path in found]


def _add(run: Run, path: Path) -> None:
    found = find_logs(path)
    for log in found.logs:
        if any(log.samefile(other) for other in run.logs):
            raise ValueError(f"{run.name}: {log} is given twice, and would count as two seeds: name it once")
        run.logs.append(log)
    run.passed_over.extend(found.passed_over)
