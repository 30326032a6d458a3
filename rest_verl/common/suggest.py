"""One wording for every unknown name: what was given, the nearest right one, all that are allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> str:
    """Message for a name that is not among the allowed ones."""
    names = sorted(allowed)
    near = get_close_matches(given, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {given!r}: {hint}allowed: {', '.join(names)}"
