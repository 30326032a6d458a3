"""A group of checks: what it found as a table, kept in benchmarks/results/, and docs/trust.md written from them all.

Nothing in the page is typed by hand but its introduction and what a group says of itself: a number in it comes from a
result file, and a group that has not been run has no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evidence.results import FOLDER, read_result, said_by, write_result
from page import markdown_table, show_tables
from rich.console import Console

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
GROUPS = ("faults", "fuzz", "equivalences", "versions", "untouched")  # in the order of the page
INTRODUCTION = """\
<!-- Written by the commands named below from benchmarks/results/: a change belongs there. -->
# Trust

A plugin inside a training run must never be the reason that the run dies, trains something else without a word, or
cannot be resumed. Each part of this page is one command that anyone can run without an accelerator: what it did to
real runs of stock verl, Ray and vLLM, and what came of it. What model-written text can reach is in
[security.md](security.md)."""


@dataclass(frozen=True)
class Group:
    """What a group of checks found.

    Attributes:
        name: one of GROUPS.
        title: heading of its part of the page.
        about: what was done, in a few sentences of Markdown.
        head, rows: its table.
        notes: sentences below the table, each a line of a list.
        failures: how many checks did not hold.
    """

    name: str
    title: str
    about: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    failures: int = 0


def publish(group: Group, write: bool, console: Console | None = None) -> None:
    """Print the table of a group and, with `write`, keep it and write the page again."""
    console = console or Console()
    show_tables(console, [(group.head, group.rows)])
    for note in group.notes:
        console.print(note, markup=False)
    if write:
        path = write_result(_file(group.name), asdict(group), folder=FOLDER)
        PAGE.write_text(page(FOLDER))
        console.print(f"written: {path} and docs/{PAGE.name}", soft_wrap=True)


def page(results: Path = FOLDER, groups: Sequence[str] = GROUPS) -> str:
    """docs/trust.md, from the result files that are there."""
    parts = [INTRODUCTION]
    for name in groups:
        if (found := read_result(_file(name), results)) is None:
            continue
        group = _group(found)
        lines = [f"## {group.title}", "", group.about, "", said_by(found["made_by"]), ""]
        lines += markdown_table(group.head, group.rows)
        parts.append("\n".join([*lines, *([""] if group.notes else []), *(f"- {note}" for note in group.notes)]))
    return "\n\n".join(parts) + "\n"


def read_group(name: str, results: Path = FOLDER) -> Group | None:
    """What was found when the group was run last; None where it has not been."""
    found = read_result(_file(name), results)
    return None if found is None else _group(found)


def _group(found: dict[str, Any]) -> Group:
    return Group(**{key: value for key, value in found.items() if key != "made_by"})


def _file(name: str) -> str:
    return f"trust_{name}"
