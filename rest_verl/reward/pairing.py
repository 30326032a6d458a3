"""The best one-to-one pairing where calls that repeat each other are limited. Pure functions of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Group:
    """Calls that repeat each other.

    Attributes:
        qualities: for each call, what pairing it with each due call is worth, in (0, 1].
        limit: how many of the calls can be paired, at least 1.
    """

    qualities: Sequence[Sequence[float]]
    limit: int


def best_pairs(groups: Sequence[Group]) -> list[tuple[int, int, int]]:
    """The pairs (due call, group, call of the group) with the greatest sum of qualities.

    Each due call and each call is paired at most once, and each group gives no more calls than its limit.

    Args:
        groups: with qualities for the same due calls, at least one; any number of groups.
    """
    columns = [(number, member) for number, group in enumerate(groups) for member in range(len(group.qualities))]
    if not columns:
        return []
    due = len(groups[0].qualities[0])
    if due == 1:  # almost always: the best call, and no limit matters
        number, member = max(columns, key=lambda column: groups[column[0]].qualities[column[1]][0])
        return [(0, number, member)]
    columns = _useful(groups, due)
    # Calls beyond a group's limit are taken by rows of their own, each worth more than all due calls together.
    kept = Counter(number for number, _ in columns)
    surplus = [number for number in kept for _ in range(kept[number] - groups[number].limit)]
    real = [groups[number].qualities[member] for number, member in columns]
    taken = [[(due + 1.0) * (number == owner) for number, _ in columns] for owner in surplus]
    rows, chosen = linear_sum_assignment(np.vstack([np.array(real).T, *taken]), maximize=True)
    return [(int(row), *columns[column]) for row, column in zip(rows, chosen, strict=True) if row < due]


def _useful(groups: Sequence[Group], due: int) -> list[tuple[int, int]]:
    """The calls among which a best pairing is found, however many there are: a due call needs no more than its best
    groups, as many as there are due calls, and of each no more than its best calls, as many as the limit. One of them
    is free whatever the other due calls take."""
    found: set[tuple[int, int]] = set()
    for row in range(due):
        ranked = []
        for number, group in enumerate(groups):
            members = sorted(((-of[row], member) for member, of in enumerate(group.qualities)))[: group.limit]
            ranked.append((members[0][0], number, [member for _, member in members]))
        found |= {(number, member) for _, number, members in sorted(ranked)[:due] for member in members}
    return sorted(found)
