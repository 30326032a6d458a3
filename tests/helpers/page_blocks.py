"""The fenced blocks of a Markdown page, each with the remark in the line above it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_REMARK = re.compile(r"<!-- (?P<text>.+?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: path of its page.
        line: number of its first line, counted from 1.
        language: what the fence says, or "".
        text: its lines, without the indentation of the fence.
        remark: the comment in the line above, or "".
    """

    page: Path
    line: int
    language: str
    text: str
    remark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    content = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(content):
        above = content[: fence.start()].rstrip().rpartition("\n")[2].strip()
        remark = _REMARK.fullmatch(above)
        text = re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        line = content.count("\n", 0, fence.start()) + 2
        found.append(Block(page, line, fence["language"], text, remark["text"] if remark else ""))
    return found


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
