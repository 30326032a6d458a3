"""Find and read the logs of each `RUN` on the command line."""

from __future__ import annotations

import glob
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rest_verl.common.extras import require

Series = dict[int, float]  # step -> value; NaN where the logged value is not finite
Scalars = dict[str, Series]  # by metric

_EXPECTED = 'expected {"step": 1, "data": {"metric": 0.5, ...}} as verl\'s logger `file` writes it'
_EVENTS = "events.out.tfevents."


@dataclass(frozen=True)
class FoundLogs:
    """The logs at a path.

    Attributes:
        logs: each a file of JSON lines, an event file, or a folder of event files.
        skipped: folders of event files that are ignored because there are JSON lines too.
    """

    logs: list[Path]
    skipped: list[Path]


def find_logs(path: Path) -> FoundLogs:
    """The logs at a path: the file itself, or all logs below a folder, in order.

    Event files of one folder are one log: a resumed run begins another file. If both loggers wrote, their numbers are
    the same, and the JSON lines have them in full precision.

    Raises:
        FileNotFoundError: there is no log.
    """
    if path.is_file():
        return FoundLogs([path], [])
    lines, events = [], []
    for folder, _, names in os.walk(path):
        here = [Path(folder, name) for name in names]
        lines += [file for file in here if file.suffix == ".jsonl" and _begins_as_log(file)]
        if any(_is_events(file) for file in here):
            events.append(Path(folder))
    if not lines and not events:
        raise FileNotFoundError(
            f"{path}: no verl log in it, neither *.jsonl of the logger `file` nor {_EVENTS}* of the logger "
            "`tensorboard`; train with trainer.logger=[console,file]"
        )
    return FoundLogs(sorted(lines), sorted(events)) if lines else FoundLogs(sorted(events), [])


def read_log(path: Path) -> Scalars:
    """Read a log; if a step is logged more than once, the last value counts.

    Args:
        path: one of `FoundLogs.logs`.

    Raises:
        ValueError: it is not a verl log, or has no step yet.
        ModuleNotFoundError: it holds events and tensorboard is not installed; the message says how to install it.
    """
    scalars = _read_events(path) if path.is_dir() or _is_events(path) else _read_lines(path)
    if not scalars:
        raise ValueError(f"{path}: no step is logged yet: try again after the first one")
    return scalars


def _read_lines(path: Path) -> Scalars:
    scalars: Scalars = defaultdict(dict)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                step, data = _record(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n") and _may_be_cut(line):
                    break  # still being written
                if number == 1 and not line.startswith(b"{"):
                    raise ValueError(f"{path}:1: not a log of verl: {_EXPECTED}") from None
                raise ValueError(f"{path}:{number}: {error}: {_EXPECTED}") from None
            for metric, value in data.items():
                if value is None:  # verl's logger writes null for values that are not finite
                    scalars[metric][step] = math.nan
                elif isinstance(value, int | float):
                    scalars[metric][step] = _finite(value)
    return dict(scalars)


def _may_be_cut(line: bytes) -> bool:
    """Whether a line may be the beginning of one of verl's."""
    begin = b'{"step":'
    return line.startswith(begin) or begin.startswith(line)


def _record(line: bytes) -> tuple[int, dict[str, Any]]:
    """The step of a line and what was logged at it."""
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("data"), dict):
        raise ValueError("not an object with an object `data`")
    if type(record.get("step")) is not int:
        raise ValueError(f"step={record.get('step')!r:.50} is not a whole number")
    return record["step"], record["data"]


def _begins_as_log(path: Path) -> bool:
    """Whether the first line is from verl's logger: verl writes its rollouts as JSON lines too."""
    with path.open("rb") as file:
        try:
            _record(file.readline())
        except (ValueError, RecursionError):
            return False
    return True


def _is_events(path: Path) -> bool:
    return path.name.startswith(_EVENTS)


def _read_events(path: Path) -> Scalars:
    require("tensorboard", "plot", f"{path}: event files")
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    # 0 keeps every value; the default is a random sample of 10,000
    events = EventAccumulator(str(path), size_guidance={SCALARS: 0}, purge_orphaned_data=False).Reload()
    return {
        metric: {event.step: _finite(event.value) for event in events.Scalars(metric)}
        for metric in events.Tags()[SCALARS]
    }


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


# What a run's settings decide, and no seed: which metrics of these there are.
_OF_SETTINGS = re.compile(r"rest/(weight|schedule|entropy|curriculum|pg_clipfrac|credit|rows_untagged)\b.*")
# What they decide at each step.
_SCHEDULE = "rest/schedule/"
_TRAINED = "critic/score/mean"


def check_seeds(name: str, logs: Mapping[Path, Scalars]) -> None:
    """Check that logs can be seeds of one run: the mean over paper and grpo would be a curve of neither.

    Raises:
        ValueError: they are of different settings; the message names two of them and how to draw them.
    """
    trained = {path: log for path, log in logs.items() if _TRAINED in log or any(map(_OF_SETTINGS.fullmatch, log))}
    if not trained:
        return  # a log may have only the validation before the first step
    (first, one), *others = trained.items()
    for path, other in others:
        differs = {key.rpartition("/")[0] for key in one.keys() ^ other.keys() if _OF_SETTINGS.fullmatch(key)}
        reason = f"only one of them logs {', '.join(sorted(differs))}" if differs else _other_schedule(one, other)
        if reason:
            raise ValueError(
                f"{name}: {first} and {path} are no seeds of one run: {reason}. Give each run a name, as in "
                f"paper={first} grpo={path}"
            )


def _other_schedule(one: Scalars, other: Scalars) -> str:
    for metric in sorted(key for key in one if key.startswith(_SCHEDULE)):
        for step in sorted(one[metric].keys() & other[metric].keys()):
            values = one[metric][step], other[metric][step]
            if not math.isclose(*values, rel_tol=1e-4):  # event files hold float32
                return f"{metric} at step {step} is {values[0]:g} and {values[1]:g}"
    return ""


@dataclass(frozen=True)
class Run:
    """One run of the chart.

    Attributes:
        name: its name in the legend.
        logs: one per seed.
        skipped: event files that `logs` already cover.
    """

    name: str
    logs: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


def find_runs(arguments: Sequence[str]) -> list[Run]:
    """The runs given as `RUN ...`, in order.

    A RUN is a path or `NAME=PATH`. Every log found under one name is a seed of that run. A path may be a pattern, with
    `*` for any text and `**` for any folders. Without a name, each path is a run named by its last part.

    Raises:
        FileNotFoundError: a pattern matches nothing, or there is no log.
        ValueError: a log is given twice, or two paths without a name would get the same one.
    """
    runs: dict[str, Run] = {}
    named: set[str] = set()
    for argument in arguments:
        name, pattern = _split(argument)
        for path in _matches(argument, pattern):
            called = name or (path.resolve().stem if path.is_file() else path.resolve().name)
            if called in runs and not (name and called in named):
                raise ValueError(
                    f"{argument}: another run is already named {called!r}: give each a name, as in NAME={path}; "
                    "all paths of one name are seeds of one run"
                )
            if name:
                named.add(name)
            _add(runs.setdefault(called, Run(called)), path)
    return list(runs.values())


def _split(argument: str) -> tuple[str, str]:
    """Name and pattern; the name is empty if there is none. An `=` after a `/` is part of the path."""
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
            raise ValueError(f"{run.name}: {log} is given twice and would count as two seeds: give it once")
        run.logs.append(log)
    run.skipped.extend(found.skipped)
