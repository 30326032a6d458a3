"""Which logs belong to which run: what `RUN` on the command line means."""

from __future__ import annotations

import glob
import json
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Series = dict[int, float]  # step -> value; NaN where what was logged is not finite
Scalars = dict[str, Series]  # by metric

_EXPECTED = 'expected {"step": 1, "data": {"metric": 0.5, ...}} as verl\'s logger `file` writes it'
_EVENTS = "events.out.tfevents."


@dataclass(frozen=True)
class Found:
    """The logs at a path.

    Attributes:
        logs: each a file of JSON lines, a file of events, or a folder of event files.
        passed_over: folders of event files that were not taken, since JSON lines are there as well.
    """

    logs: list[Path]
    passed_over: list[Path]


def find_logs(path: Path) -> Found:
    """The logs at a path: the file itself, or all below a folder, in order.

    Event files of one folder are one log: a run that is resumed begins another file. Where both loggers wrote, their
    numbers are the same ones, and JSON lines have them in full precision.

    Raises:
        FileNotFoundError: there is no log.
    """
    if path.is_file():
        return Found([path], [])
    lines, events = [], []
    for folder, _, names in os.walk(path):
        here = [Path(folder, name) for name in names]
        lines += [file for file in here if file.suffix == ".jsonl" and _begins_as_log(file)]
        if any(_is_events(file) for file in here):
            events.append(Path(folder))
    if not lines and not events:
        raise FileNotFoundError(
            f"{path}: no log of verl in it: looked for *.jsonl of the logger `file` and for {_EVENTS}* of the logger "
            "`tensorboard`; train with trainer.logger=[console,file]"
        )
    return Found(sorted(lines), sorted(events)) if lines else Found(sorted(events), [])


def read_log(path: Path) -> Scalars:
    """Read a log; of a step that is logged more than once the last value counts.

    Args:
        path: one of `Found.logs`.

    Raises:
        ValueError: it is no such log, or holds no step yet.
        ModuleNotFoundError: it holds events, and tensorboard is not installed; the message says how to install it.
    """
    scalars = _read_events(path) if path.is_dir() or _is_events(path) else _read_lines(path)
    if not scalars:
        raise ValueError(f"{path}: no step is logged yet: try again when the first one is done")
    return scalars


def _read_lines(path: Path) -> Scalars:
    scalars: Scalars = defaultdict(dict)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                step, data = _record(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    break  # still being written
                raise ValueError(f"{path}:{number}: {error}: {_EXPECTED}") from None
            for metric, value in data.items():
                if value is None:  # how verl's logger writes what is not finite
                    scalars[metric][step] = math.nan
                elif isinstance(value, int | float):
                    scalars[metric][step] = _finite(value)
    return dict(scalars)


def _record(line: bytes) -> tuple[int, dict[str, Any]]:
    """The step of a line and what was logged at it."""
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("data"), dict):
        raise ValueError("no object with an object `data`")
    if type(record.get("step")) is not int:
        raise ValueError(f"step={record.get('step')!r:.50} is no whole number")
    return record["step"], record["data"]


def _begins_as_log(path: Path) -> bool:
    """Whether the first line is one of verl's logger: verl writes its rollouts as JSON lines, too."""
    with path.open("rb") as file:
        try:
            _record(file.readline())
        except (ValueError, RecursionError):
            return False
    return True


def _is_events(path: Path) -> bool:
    return path.name.startswith(_EVENTS)


def _read_events(path: Path) -> Scalars:
    try:
        from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: event files need tensorboard ({error}). Run: pip install 'rest-verl[plot]'"
        ) from error

    # 0 keeps every value; otherwise it would draw 10,000 at random
    events = EventAccumulator(str(path), size_guidance={SCALARS: 0}, purge_orphaned_data=False).Reload()
    return {
        metric: {event.step: _finite(event.value) for event in events.Scalars(metric)}
        for metric in events.Tags()[SCALARS]
    }


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


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
