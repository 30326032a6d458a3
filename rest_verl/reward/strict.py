"""Correctness of calls under rules that are hard to game. Pure functions.

Let G be the due calls and P the calls of the response. For g in G and p in P with the same name, let K be the keys of
g and the keys of p that are optional in g:

    q(g, p) = (1 + J(K, keys(p)) + V) / (2 + |K|)        0 if the names differ
    V       = number of keys in K for which p has a right value of the right JSON type
    S       = maximum of the sum of q over all one-to-one pairings
    share   = S / (|G| + |P| - pairs)                    pairs: number of paired calls with equal names

So an extra call costs as much as a missing one, including duplicates, and the order of calls does not matter. The
share is 0 if the response is not legal, which is stricter here than in the wire format: no text outside of reasoning,
calls and answer, no empty answer where one is due, and no calls where none are due. Where no call is due, the share is
1 for a legal answer and 0 otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.reward.response import Response
from rest_verl.reward.truth import NO_MATCH, DueCall, Match, equal_json


def is_strictly_legal(response: Response, kind: Kind) -> bool:
    """Whether a response is legal, has no text outside of its blocks, has an answer if one is due and no calls if none
    are due."""
    return (
        response.is_legal(kind)
        and not response.has_stray_text()
        and (response.answered or not kind.answer)
        and (kind.calls or not response.calls)
    )


def match_best(due: Sequence[DueCall], calls: Sequence[ToolCall]) -> Match:
    """Pair calls with the due calls so that the sum of q is greatest.

    Args:
        due: G, not empty.
        calls: P.
    """
    if not calls:
        return NO_MATCH
    found = _by_name(calls)
    quality = arg_keys = arg_values = 0.0
    pairs = 0
    for name, wanted in _by_name(due).items():
        given = found.get(name, [])
        scores = [[_agreement(one, call) for call in given] for one in wanted]
        for row, column in _pairing([[_quality(*score) for score in row] for row in scores]):
            keys, values, size = scores[row][column]
            quality += _quality(keys, values, size)
            arg_keys += keys
            arg_values += values / max(size, 1) * len(wanted[row].arguments)
            pairs += 1
    union = len(due) + len(calls) - pairs
    arguments = sum(len(wanted.arguments) for wanted in due)
    return Match(quality / union, pairs / union, arg_keys / len(due), min(arg_values / max(arguments, 1), 1.0))


def _by_name(calls: Sequence) -> dict[str, list]:
    groups: dict[str, list] = defaultdict(list)
    for call in calls:
        groups[call.name].append(call)
    return groups


def _agreement(due: DueCall, call: ToolCall) -> tuple[float, int, int]:
    """J(K, keys(p)), V and |K| of a pair."""
    keys = due.arguments.keys() | (due.optional & call.arguments.keys())
    given = call.arguments.keys()
    union = len(keys | given)
    right = sum(_is_right(due, key, call) for key in keys & given)
    return (len(keys & given) / union if union else 1.0), right, len(keys)


def _is_right(due: DueCall, key: str, call: ToolCall) -> bool:
    value = call.arguments[key]
    return due.accepts(key, value) if due.accepts is not None else equal_json(value, due.arguments[key])


def _quality(keys: float, values: float, size: int) -> float:
    return (1 + keys + values) / (2 + size)


def _pairing(quality: list[list[float]]) -> list[tuple[int, int]]:
    """The pairs (row, column) with the greatest sum."""
    if not quality[0]:
        return []
    if len(quality) == len(quality[0]) == 1:  # almost always
        return [(0, 0)]
    rows, columns = linear_sum_assignment(np.array(quality), maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]
