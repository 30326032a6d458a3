"""What a dry run finds."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 12  # keys in a message where none is near


class DryRunError(ValueError):
    """The run would fail; each problem is one line with the key, the value, what is allowed and what to do."""

    def __init__(self, problems: Iterable[str]):
        """
        Args:
            problems: at least one; each becomes one line.
        """
        self.problems = [" ".join(problem.split()) for problem in problems]
        super().__init__("\n".join(self.problems))


def unknown_key(given: str, keys: Iterable[str]) -> str:
    """Message for a key that is not among those of its node: the nearest ones, for a node of verl has up to 70."""
    names = sorted(name for name in keys if name != "_target_")
    near = get_close_matches(given, names, n=3, cutoff=0.5)
    if near:
        return f"unknown key {given!r}: did you mean {' or '.join(near)}?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"unknown key {given!r}: allowed: {', '.join(names[:SHOWN])}{more}"
