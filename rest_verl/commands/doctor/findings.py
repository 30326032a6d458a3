"""What the doctor finds: plain values, to be shown, sent from one process to another, or tested."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

_LONGEST_ERROR = 600


class Level(str, Enum):
    """How bad a finding is: with a failure no run can start; a warning is worth knowing."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        group: the heading that it stands under.
        check: what was looked at.
        found: what is there.
        level: a name or a value of `Level` makes no difference: it becomes a `Level`.
        remedy: what to do; empty exactly where the level is OK.
    """

    group: str
    check: str
    found: str
    level: Level = Level.OK
    remedy: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", Level(self.level))
        if (self.level is Level.OK) != (not self.remedy):
            raise ValueError(f"{self.group}, {self.check}: a remedy belongs to what is not fine, and only to that")


def can_start(findings: Iterable[Finding]) -> bool:
    """Whether nothing that was found keeps a run from starting."""
    return all(finding.level is not Level.FAILURE for finding in findings)


def error_line(error: BaseException) -> str:
    """An error on one line: its kind, its message, and the line of code that raised it, where there is one."""
    said = f"{type(error).__name__}: {error}"
    if frames := traceback.extract_tb(error.__traceback__):
        last = frames[-1]
        said += f" ({last.filename}:{last.lineno}: {last.line})"
    said = " ".join(said.split())
    return said if len(said) <= _LONGEST_ERROR else f"{said[:_LONGEST_ERROR]}..."


def guarded(group: str, check: str, remedy: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `look` finds, and a failure where it raises: what is looked at may be broken in any way. The whole
    traceback goes to standard error, which is the doctor's log."""
    try:
        yield from look()
    except Exception as error:
        traceback.print_exception(error)
        yield Finding(group, check, error_line(error), Level.FAILURE, remedy)
