"""What libFuzzer, and the process around it, say of a run, read from what it writes while it runs and at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

# `#4096\tpulse  cov: 310 ft: 912 corp: 210/8Kb lim: 4096 exec/s: 2048 rss: 301Mb`
_STATUS = re.compile(r"#(?P<executions>\d+)\s+\S+\s+cov: (?P<edges>\d+) ft: (?P<features>\d+) corp: (?P<inputs>\d+)/")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_SPENT = re.compile(r"CPU seconds: (\d+)")  # by trust.fuzz_process


@dataclass(frozen=True)
class Statistics:
    """What a run came to, or has come to so far.

    Attributes:
        executions: how often the target was called.
        seconds: of CPU time that it took; 0 until it is done, and where a crash ended it.
        edges: of the instrumented code that were reached.
        features: edges by how often an input takes them, in powers of two.
        inputs: that reach something new, those it began with included.
    """

    executions: int = 0
    seconds: int = 0
    edges: int = 0
    features: int = 0
    inputs: int = 0


def read_line(line: str, so_far: Statistics) -> Statistics:
    """Statistics with what one line adds to them; the line may be any text."""
    if found := _STATUS.match(line):
        return replace(so_far, **{name: int(number) for name, number in found.groupdict().items()})
    if found := _EXECUTED.match(line):
        return replace(so_far, executions=int(found[1]))
    if found := _SPENT.match(line):
        return replace(so_far, seconds=int(found[1]))
    return so_far


def read_statistics(lines: Iterable[str]) -> Statistics:
    """Statistics of a run from all that it wrote."""
    found = Statistics()
    for line in lines:
        found = read_line(line, found)
    return found
