"""Keeps the numbers of README.md and of the hand-written pages equal to those of the result files that they quote.

A page marks a number where it stands, so that its Markdown reads well on a code host:

    costs <!--= overhead.verdicts.clock.estimate:.2% -->0.89%<!--/--> of a step
    <!--= learning.verdicts.paper.final:+.3f -->-0.009 [-0.029, +0.006]<!--/-->

The key is a result file and the way into it; a list is entered by place. Behind the colon stands Python's format. What
has `estimate`, `low` and `high` is written as an interval, true and false as yes and no. A table of a result file
stands on lines of its own:

    <!--| learning.tables.differences -->
    | ... |
    <!--/-->

    python benchmarks/page_numbers.py            # rewrite the numbers
    python benchmarks/page_numbers.py --check    # fail where one is stale
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from harness import RESULTS, ROOT, markdown_table, read_result

MARK = re.compile(
    r"(?P<open><!--(?P<kind>[=|]) *(?P<key>[^:>]+?)(?::(?P<format>[^>]*?))? *-->)(?P<shown>.*?)<!--/-->", re.DOTALL
)


def look_up(key: str, folder: Path = RESULTS) -> Any:
    """The value under a key such as `learning.pieces.grpo/0.seed`, else `KeyError`, which says how far it leads."""
    name, *way = key.split(".")
    value: Any = _result(name, folder)
    for place, part in enumerate(way):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            inside = ".".join([name, *way[:place]])
            raise KeyError(f"{key}: {inside} has no {part!r}") from None
    return value


def shown(value: Any, form: str = "") -> str:
    """A value as a page shows it."""
    if value is None or (isinstance(value, dict) and value["estimate"] is None):
        return "not known"
    if isinstance(value, dict) and value["low"] is None:
        return f"{format(value['estimate'], form)} [not known]"
    if isinstance(value, dict):
        estimate, low, high = (format(value[end], form) for end in ("estimate", "low", "high"))
        return f"{estimate} [{low}, {high}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str) else format(value, form)


def refreshed(page: Path, folder: Path = RESULTS) -> tuple[str, list[str]]:
    """The text of a page with all numbers as they are stored, and a line for each that it has otherwise."""
    text, found = page.read_text(encoding="utf-8"), list[str]()

    def stored(mark: re.Match[str]) -> str:
        value = look_up(mark["key"], folder)
        new = f"\n{markdown_table(value)}\n" if mark["kind"] == "|" else shown(value, mark["format"] or "")
        if new != mark["shown"]:
            line = text.count("\n", 0, mark.start()) + 1
            found.append(f"{page}:{line}: {mark['key']} is {new!r}, and the page says {mark['shown']!r}")
        return f"{mark['open']}{new}<!--/-->"

    return MARK.sub(stored, text), found


def all_pages(root: Path = ROOT) -> list[Path]:
    """The pages that may quote a result file."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def refresh(pages: Iterable[Path] | None = None, folder: Path = RESULTS, write: bool = True) -> list[str]:
    """Rewrite the stale numbers of pages (default: all), unless told not to, and return a line for each."""
    _result.cache_clear()
    found = list[str]()
    for page in all_pages() if pages is None else pages:
        text, stale = refreshed(page, folder)
        if write and stale:
            page.write_text(text, encoding="utf-8")
        found += stale
    return found


@cache
def _result(name: str, folder: Path) -> dict[str, Any]:
    found = read_result(name, folder)
    if found is None:
        raise KeyError(f"there is no {folder / name}.json")
    return found


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where a number is stale.")] = False,
) -> None:
    """Write the numbers of the result files into the pages."""
    found = refresh(write=not check)
    for line in found:
        typer.echo(line)
    raise typer.Exit(int(check and bool(found)))


if __name__ == "__main__":
    typer.run(main)
