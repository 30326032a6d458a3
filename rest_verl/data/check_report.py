"""The result of a check of data files: plain values that can be shown and tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(Enum):
    """Kinds of problems. Errors make the check fail; warnings may be intended."""

    FILE = ("files that cannot be used", True)
    PROMPT = ("rows without a readable prompt", True)
    TRUTH = ("rows that cannot be scored", True)
    TOOLS = ("rows whose tools cannot be read", True)
    USER = ("rows whose user cannot be played", True)
    TEMPLATE = ("prompts that the chat template refuses", True)
    OVERLAP = ("prompts in both files", True)
    LONG = ("prompts that are too long", False)
    CONTRADICTION = ("repeated prompts with another ground truth", False)
    DUPLICATE = ("repeated prompts with the same ground truth", False)
    INDEX = ("rows without extra_info.index", False)
    SCHEMAS = ("files that verl cannot concatenate", False)

    def __init__(self, title: str, is_error: bool):
        self.title = title
        self.is_error = is_error


@dataclass(frozen=True)
class Problem:
    """A problem with a file, with two files (`file` names both) or with a row (counted from 0)."""

    kind: Kind
    file: str
    reason: str
    row: int | None = None

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{place}: {' '.join(self.reason.split())}"


@dataclass(frozen=True)
class Lengths:
    """A file's prompt lengths in tokens; median and p95 are actual lengths (nearest rank)."""

    minimum: int
    median: int
    p95: int
    maximum: int


@dataclass(frozen=True)
class FileReport:
    """The findings in one completely read file; rows count from 0. `without_tools` is the number of rows that do not
    say which tools they offer, so that the types of bare values are unknown."""

    path: Path
    rows: int
    sources: Mapping[str, int]
    without_tools: int
    problems: tuple[Problem, ...]
    lengths: Lengths | None
    schema: pa.Schema = field(repr=False)
    prompts: Mapping[bytes, int] = field(repr=False)  # digest of each prompt -> the first row with it


@dataclass(frozen=True)
class PairReport:
    """The findings on a pair of files; `shared` is their number of common prompts."""

    first: Path
    second: Path
    shared: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Report:
    """Everything that `check_files` found."""

    files: tuple[FileReport, ...]
    pairs: tuple[PairReport, ...]
    unusable: tuple[Problem, ...]

    @property
    def problems(self) -> list[Problem]:
        """All problems, grouped by kind and file."""
        found = list(self.unusable)
        for file in self.files:
            found += file.problems
        for pair in self.pairs:
            found += pair.problems
        order = list(Kind)
        return sorted(found, key=lambda problem: order.index(problem.kind))

    @property
    def failed(self) -> bool:
        """Whether any problem is an error."""
        return any(problem.kind.is_error for problem in self.problems)
