"""Shows what a benchmark measured, and writes it into a page of the documentation between two marks that name it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"


def write_between_marks(script: str, lines: list[str], page: Path = PAGE) -> None:
    """Replace what stands in a page between `<!-- script -->` and `<!-- end of script -->`."""
    text = page.read_text()
    begin, end = f"<!-- {script} -->\n", f"<!-- end of {script} -->"
    head, tail = text.index(begin) + len(begin), text.index(end)
    page.write_text(text[:head] + "\n".join(lines) + "\n" + text[tail:])


def show_tables(console: Console, tables: Sequence[tuple[list[str], list[list[str]]]]) -> list[str]:
    """Print tables, each its head and its lines, and return them as lines of Markdown."""
    markdown = []
    for head, body in tables:
        table = Table(*head)
        for line in body:
            table.add_row(*line)
        console.print(table)
        markdown += [*markdown_table(head, body), ""]
    return markdown


def markdown_table(head: list[str], body: list[list[str]]) -> list[str]:
    """A table as lines of Markdown."""
    return ["| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body]]


def machine() -> str:
    """What the numbers were measured on."""
    return f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, one thread"
