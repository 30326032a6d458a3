"""How well calls match those that are due: what every set of rules comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """Parts of a match, each in [0, 1].

    Attributes:
        share: of the correctness reward.
        name: agreement of the tools' names.
        arg_keys: agreement of the arguments' names, as a mean over the calls that are due.
        arg_values: share of the due arguments whose value is right.
    """

    share: float
    name: float = 0.0
    arg_keys: float = 0.0
    arg_values: float = 0.0


NO_MATCH = Match(0.0)


def jaccard(first: Sequence[str], second: Sequence[str]) -> float:
    """Multiset Jaccard index |a & b| / |a | b|; 1 for two equal lists (also empty ones)."""
    if first == second:
        return 1.0
    common = (Counter(first) & Counter(second)).total()
    return common / (len(first) + len(second) - common)
