"""Does the plugin leave verl as it is? verl's own tests with the plugin installed and without, test by test.

Two environments are made of links to the packages of this one; one of them lacks rest-verl, its entry point and its
Hydra plugin. Each file of verl's tests runs in both, in a process of its own, and every test has to have the same
outcome, down to the kind of the error where verl's own test fails here (no GPU, no network). Files of tests that need
accelerators or a language model are left out.

    pip install --no-deps pytest-asyncio    # for tests of verl's agent loop that are coroutines
    python benchmarks/untouched.py
    python benchmarks/untouched.py --only core_algos --no-write
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from trust.group import Group, publish
from trust.verls_tests import HEAD, files_of_verl, not_as_said, notes_on, run_pairs

ABOUT = """\
verl's own tests with the plugin installed and in an environment of the same packages without it. An outcome is the
result of a test and, where it fails, the kind of its error. A run of plain GRPO both ways is the first line of
[Equivalences](#equivalences)."""


@dataclass(frozen=True)
class Settings:
    """What the command was asked for: names of files have to contain `only`; a process is ended after `seconds`."""

    out: Path
    only: str
    seconds: float


@dataclass(frozen=True)
class Part:
    """Rows of the table, notes below it, and how many checks did not hold."""

    rows: list[list[str]]
    notes: list[str]
    failures: int


def verls_tests(settings: Settings, progress: Progress) -> Part:
    """verl's own tests, file by file."""
    files = [file for file in files_of_verl() if settings.only in file]
    bar = progress.add_task("environments", total=len(files))
    pairs = []
    for pair in run_pairs(
        files, settings.out, settings.seconds, lambda file: progress.update(bar, description=Path(file).stem)
    ):
        pairs.append(pair)
        progress.advance(bar)
    failures = sum(len(pair.differing) for pair in pairs) + len(not_as_said(pairs))
    return Part([pair.row for pair in pairs], notes_on(pairs), failures)


PARTS: tuple[Callable[[Settings, Progress], Part], ...] = (verls_tests,)


def main(
    only: Annotated[str, typer.Option(help="Only files of tests with this in their path; nothing is written.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Time of one file.")] = 300,
    out: Annotated[Path, typer.Option(help="Folder for the environments and what the tests print.")] = Path(
        "runs/untouched"
    ),
    write: Annotated[bool, typer.Option(help="Write the result and docs/trust.md.")] = True,
) -> None:
    """Compare verl with the plugin and without it."""
    columns = (TextColumn("{task.description:<40.40}"), BarColumn(bar_width=16), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        parts = [part(Settings(out, only, seconds), progress) for part in PARTS]
    group = Group(
        name="untouched",
        title="verl with the plugin and without it",
        about=ABOUT,
        head=HEAD,
        rows=[row for part in parts for row in part.rows],
        notes=[note for part in parts for note in part.notes],
        failures=sum(part.failures for part in parts),
    )
    publish(group, write and not only)
    raise typer.Exit(int(group.failures > 0))


if __name__ == "__main__":
    typer.run(main)
