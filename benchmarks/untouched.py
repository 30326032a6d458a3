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

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from trust.group import Group, publish
from trust.verls_tests import HEAD, Pair, files_of_verl, not_as_said, notes_on, run_pairs

ABOUT = """\
verl's own tests with the plugin installed and in an environment of the same packages without it. An outcome is the
result of a test and, where it fails, the kind of its error. A run of plain GRPO both ways is the first line of
[Equivalences](#equivalences)."""


def run_verls_tests(out: Path, only: str, seconds: float, progress: Progress) -> list[Pair]:
    """verl's own tests, file by file, of the files with `only` in their path."""
    files = [file for file in files_of_verl() if only in file]
    bar = progress.add_task("environments", total=len(files))
    pairs = []
    for pair in run_pairs(files, out, seconds, lambda file: progress.update(bar, description=Path(file).stem)):
        pairs.append(pair)
        progress.advance(bar)
    return pairs


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
        pairs = run_verls_tests(out, only, seconds, progress)
    group = Group(
        name="untouched",
        title="verl with the plugin and without it",
        about=ABOUT,
        head=HEAD,
        rows=[pair.row for pair in pairs],
        notes=notes_on(pairs),
        failures=sum(len(pair.differing) for pair in pairs) + len(not_as_said(pairs)),
    )
    publish(group, write and not only)
    raise typer.Exit(int(group.failures > 0))


if __name__ == "__main__":
    typer.run(main)
