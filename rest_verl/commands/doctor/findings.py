"""The doctor's findings: plain values that can be shown, sent between processes and tested."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

_LONGEST_ERROR = 600


class Level(str, Enum):
    """Severity of a finding: with a failure no run can start; a warning is worth knowing."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        group: the heading it appears under.
        check: what was checked.
        found: what was found.
        level: a `Level` or its value, which is converted.
        remedy: what to do; empty if and only if the level is OK.
    """

    group: str
    check: str
    found: str
    level: Level = Level.OK
    remedy: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", Level(self.level))
        if (self.level is Level.OK) != (not self.remedy):
            raise ValueError(
                f"{self.group}, {self.check}: a remedy is required unless the level is ok, and not allowed then"
            )


def can_start(findings: Iterable[Finding]) -> bool:
    """Whether no finding prevents a run from starting."""
    return all(finding.level is not Level.FAILURE for finding in findings)


def error_line(error: BaseException) -> str:
    """An error on one line: its type, its message, and the line of code that raised it, if known."""
    line = f"{type(error).__name__}: {error}"
    if frames := traceback.extract_tb(error.__traceback__):
        last = frames[-1]
        line += f" ({last.filename}:{last.lineno}: {last.line})"
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_ERROR else f"{line[:_LONGEST_ERROR]}..."


def catch_errors(group: str, check: str, remedy: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of `look`, and a failure if it raises: the environment may be broken in any way. The whole
    traceback goes to standard error, which is the doctor's log."""
    try:
        yield from look()
    except Exception as error:
        traceback.print_exception(error)
        yield Finding(group, check, error_line(error), Level.FAILURE, remedy)
