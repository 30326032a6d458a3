"""The table of the faults that were done to runs: what became of each run, and what its log says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date

from trust.disturbances import DISTURBANCES, Disturbance
from trust.runs import BENCHMARKS

HEAD = ["what went wrong", "what came of it", "noticed after", "checkpoint before, gone on from", "held", "on"]
SHOWN = 150  # characters of a message


@dataclass(frozen=True)
class Outcome:
    """What became of a disturbed run, and of the one that resumed it.

    Attributes:
        name: of the disturbance.
        said: the line of its log with the reason; empty for a run that went on without one.
        seconds: from the fault to the end of the run; None for one that went on.
        before: step of the newest checkpoint before it.
        gone_on_from: step that training went on from.
        logged: steps that the disturbed run logged, and those that the resumed one did.
        problems: what was not as it must be.
        day: of the run, as ISO has it.
    """

    name: str
    said: str
    seconds: float | None
    before: int
    gone_on_from: int
    logged: tuple[list[int], list[int]]
    problems: list[str]
    day: str = field(default_factory=lambda: date.today().isoformat())


def said_in(log: str, disturbance: Disturbance) -> str:
    """What a log says of a disturbance: the error of a run that must end, or the line that must be there."""
    lines = log.splitlines()
    if disturbance.says:
        found = [message_of(line, disturbance.says) for line in lines if disturbance.says in line]
    elif disturbance.ends:
        found = [text for line in lines if (text := error_in(line))]
    else:
        return ""
    return found[-1] if found else ""


def message_of(line: str, part: str) -> str:
    """The message with a part in it from a line of a log: from the end of what logging or an error's name put before
    it, or from the part itself where nothing did."""
    before = line[: line.index(part)]
    heads = list(re.finditer(r"\w+Error: |[A-Z]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+:", before))
    return line[heads[-1].end() if heads else len(before) :]


def error_in(line: str) -> str:
    """`SomeError: what it says` from a line of a log; empty for a line without one."""
    match = re.search(r"\b(?:\w+\.)*(\w+(?:Error|Exception)): .+", line)
    return match.group(0) if match else ""


def line_of(outcome: Outcome) -> list[str]:
    """A line of the table."""
    said = outcome.said.replace(f"{BENCHMARKS.parent}/", "")  # the result is for other machines too
    said = said if len(said) <= SHOWN else said[:SHOWN] + " ..."
    return [
        outcome.name,
        cell(said or "it went on"),
        "" if outcome.seconds is None else f"{outcome.seconds:.0f} s",
        f"{outcome.before}, {outcome.gone_on_from}",
        cell("; ".join(outcome.problems)) or "yes",
        outcome.day,
    ]


def in_place(rows: list[list[str]], kept: list[list[str]]) -> list[list[str]]:
    """Rows in place of kept ones of the same name, in the order of the whole study."""
    names = [*(one.name for one in DISTURBANCES), *(row[0] for row in kept)]
    found = {row[0]: row for row in [*kept, *rows]}
    return [found[name] for name in dict.fromkeys(names) if name in found]


def notes_on(rows: list[list[str]]) -> list[str]:
    """What the table says as a whole."""
    held = sum(row[4] == "yes" for row in rows)
    steps = {row[0]: [int(step) for step in row[3].split(", ")] for row in rows}
    lost = [f"{before - after} ({name})" for name, (before, after) in steps.items() if after < before]
    return [
        f"{held} of {len(rows)} were as they must be.",
        f"Steps lost that a checkpoint held: {', '.join(lost) or 0}.",
    ]


def cell(text: str) -> str:
    """Text of a log as a cell of a table."""
    return "".join(char if char.isprintable() else " " for char in text).replace("|", "\\|")
