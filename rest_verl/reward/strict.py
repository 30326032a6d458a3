"""Correctness of calls under rules that are hard to game. Pure functions.

Let G be the due calls and P the calls of the response. For g in G and p in P with the same name, let R be the n
arguments of g that are not optional:

    q(g, p) = (1 + k/n + v) / (2 + n + w)                0 if the names differ; k/n is 1 if n is 0
    k       = number of arguments in R that p has
    v       = number of arguments in R for which p has a right value of the right JSON type
    w       = number of wrong arguments of p: neither in R nor optional, or optional with a wrong value
    S       = maximum of the sum of q over all one-to-one pairings
    share   = S / (|G| + |P| - pairs)                    pairs: number of paired calls with equal names

Calls that repeat each other in all that some due call of the tool requires are paired as often as they are due, at
least once; further ones count in |P| alone.

The share is 1 for exactly the due calls, in any order, and an extra call costs as much as a missing one. It is
monotone: what adds nothing right never gains, and removing what is wrong never costs. For

- an argument that is not in R changes w alone (a right optional one nothing), and q falls as w grows;
- a call without a partner, of another tool or beyond those due, changes |P| alone, and the share falls as |P| grows;
- so does a call that repeats another; only a due name, argument or value that was missing can raise S.

The share is 0 if the response is not legal, which is stricter here than in the wire format: no text outside of
reasoning, calls and answer, no empty answer where one is due, and no calls where none are due. Where no call is due,
the share is 1 for a legal answer and 0 otherwise.

A call that is still being written (`reward.progress`) has the arguments whose names are decided: one with an undecided
value counts in k, not in v, and in w only if it is neither in R nor optional.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from rest_verl.core.tool_calls import UNDECIDED, Kind, ToolCall
from rest_verl.reward.pairing import Group, best_pairs
from rest_verl.reward.response import Response
from rest_verl.reward.truth import NO_MATCH, DueCall, Match, equal_json


def is_strictly_legal(response: Response, kind: Kind) -> bool:
    """Whether a response is legal, has no text outside of its blocks, has an answer if one is due and no calls if none
    are due; of several turns, each must hold a call or an answer."""
    return (
        response.is_legal(kind)
        and _says_something_and_nothing_else(response)
        and (response.answered or not kind.answer)
        and (kind.calls or not response.calls)
    )


def is_strictly_legal_for_some_kind(response: Response) -> bool:
    """Whether each turn is legal for some kind, has no text outside of its blocks, and holds a call or an answer: what
    can be asked of a trajectory whose calls were judged by its environment."""
    return response.is_legal_for_some_kind() and _says_something_and_nothing_else(response)


def match_best(due: Sequence[DueCall], calls: Sequence[ToolCall]) -> Match:
    """Pair calls with the due calls so that the sum of q is greatest.

    Args:
        due: G, not empty.
        calls: P.
    """
    if not calls:
        return NO_MATCH
    found = _by_name(calls)
    quality = arg_keys = 0.0
    values = pairs = 0
    for name, wanted in _by_name(due).items():
        repeats = _repeats(wanted, found.get(name, []))
        for one, number, member in best_pairs([_group(calls) for calls in repeats]):
            agreement = repeats[number][member][one]
            quality += agreement.quality
            arg_keys += agreement.keys
            values += agreement.values
            pairs += 1
    union = len(due) + len(calls) - pairs
    arguments = sum(len(_required(wanted)) for wanted in due)
    return Match(quality / union, pairs / union, arg_keys / len(due), values / max(arguments, 1))


@dataclass(frozen=True)
class _Agreement:
    """n, k, v and w of a pair."""

    due: int
    given: int
    values: int
    wrong: int

    @property
    def keys(self) -> float:
        return self.given / self.due if self.due else 1.0

    @property
    def quality(self) -> float:
        return (1 + self.keys + self.values) / (2 + self.due + self.wrong)

    @property
    def has_all(self) -> bool:
        return self.values == self.due


def _says_something_and_nothing_else(response: Response) -> bool:
    return not response.has_stray_text() and response.each_turn_calls_or_answers()


def _by_name(calls: Sequence) -> dict[str, list]:
    groups: dict[str, list] = defaultdict(list)
    for call in calls:
        groups[call.name].append(call)
    return groups


def _repeats(wanted: Sequence[DueCall], given: Sequence[ToolCall]) -> list[list[list[_Agreement]]]:
    """Agreement of each call with each due call of the same name; calls that repeat each other are together."""
    required = set().union(*map(_required, wanted))
    groups: dict[Hashable, list[list[_Agreement]]] = defaultdict(list)
    for call in given:
        key = _as_key({name: value for name, value in call.arguments.items() if name in required})
        groups[key].append([_agreement(one, call) for one in wanted])
    return list(groups.values())


def _group(repeats: Sequence[Sequence[_Agreement]]) -> Group:
    due = sum(agreement.has_all for agreement in repeats[0])
    return Group([[agreement.quality for agreement in column] for column in repeats], max(due, 1))


def _as_key(value: Any) -> Hashable:
    """The same for two JSON values if and only if they are equal (`equal_json`)."""
    if isinstance(value, dict):
        return frozenset((key, _as_key(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(map(_as_key, value))
    return (bool, value) if isinstance(value, bool) else value  # True equals 1 in Python, but not in JSON


def _required(due: DueCall) -> set[str]:
    return due.arguments.keys() - due.optional


def _agreement(due: DueCall, call: ToolCall) -> _Agreement:
    required, given = _required(due), call.arguments.keys()
    right = {key for key in given & (required | due.optional) if _is_right(due, key, call)}
    open_ones = {key for key in given & due.optional if call.arguments[key] is UNDECIDED}
    return _Agreement(
        due=len(required),
        given=len(required & given),
        values=len(required & right),
        wrong=len(given - required - right - open_ones),
    )


def _is_right(due: DueCall, key: str, call: ToolCall) -> bool:
    value = call.arguments[key]
    if value is UNDECIDED:
        return False
    if due.accepts is not None:
        return due.accepts(key, value)
    return key in due.arguments and equal_json(value, due.arguments[key])
