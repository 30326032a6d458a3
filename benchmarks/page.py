"""Writes what a benchmark measured into a page of the documentation, between two marks that name the benchmark."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"


def write_between_marks(script: str, lines: list[str], page: Path = PAGE) -> None:
    """Replace what stands in a page between `<!-- script -->` and `<!-- end of script -->`."""
    text = page.read_text()
    begin, end = f"<!-- {script} -->\n", f"<!-- end of {script} -->"
    head, tail = text.index(begin) + len(begin), text.index(end)
    page.write_text(text[:head] + "\n".join(lines) + "\n" + text[tail:])


def machine() -> str:
    """What the numbers were measured on."""
    return f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, one thread"
