"""Which record files a path stands for, and which of their steps a page shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rest_verl.records.read import read_step, step_files

MOST_STEPS = 12


def find_steps(paths: Iterable[Path]) -> dict[int, Path]:
    """The record files behind some paths by step, in order.

    Args:
        paths: record files, folders of them, and folders of runs in which one folder holds some.

    Raises:
        ValueError: a path has no records, or several folders of them, or two files are of the same step.
    """
    found: dict[int, Path] = {}
    for path in paths:
        for step, file in _steps_at(path).items():
            if step in found:
                raise ValueError(f"step {step} is in {found[step]} and in {file}: name one of them, or make two pages")
            found[step] = file
    return dict(sorted(found.items()))


def choose_steps(there: Sequence[int], wanted: str | None) -> list[int]:
    """The steps that a page shows, in order.

    Args:
        there: the steps with records, in order.
        wanted: steps with commas between them, or `all`; if None, at most `MOST_STEPS`, evenly spaced, with the first
            and the last.

    Raises:
        ValueError: a step is wanted that is not there.
    """
    if wanted == "all" or (wanted is None and len(there) <= MOST_STEPS):
        return list(there)
    if wanted is None:
        return [there[round(place * (len(there) - 1) / (MOST_STEPS - 1))] for place in range(MOST_STEPS)]
    chosen = step_numbers("--steps", wanted)
    for step in chosen:
        if step not in there:
            raise ValueError(f"--steps {wanted}: there is no step {step}; there are {_some(there)}")
    return chosen


def step_numbers(option: str, given: str) -> list[int]:
    """Steps that an option names with commas between them, in order; ValueError where one is no number from 1."""
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} {given}: must be steps from 1 on with commas between them, such as 1,100,300")
    return sorted({int(part) for part in parts})


def _steps_at(path: Path) -> dict[int, Path]:
    if path.is_file():
        return {read_step(path).meta.step: path}
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder. Give a run's folder, its rest.dump_dir or a record file")
    if steps := step_files(path):
        return steps
    folders = sorted({file.parent for file in path.rglob("step_*.parquet") if step_files(file.parent)})
    if len(folders) == 1:
        return step_files(folders[0])
    if folders:
        raise ValueError(f"{path}: records of several runs, name one: {', '.join(map(str, folders))}")
    raise ValueError(f"{path}: no step_*.parquet in it or below it. A run with rest.dump_dir=... writes them")


def _some(steps: Sequence[int], most: int = 20) -> str:
    shown = [*map(str, steps[:most])]
    return ", ".join(shown) + (f" and {len(steps) - most} more, up to {steps[-1]}" if len(steps) > most else "")
