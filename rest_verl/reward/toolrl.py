"""Correctness of calls as ToolRL (arXiv 2504.13958) and ResT score it. Pure functions.

Let G be the calls of the ground truth, P the calls of the response, and J(a, b) the multiset Jaccard index
|a & b| / |a | b| (1 for two equal lists, 0 if just one is empty):

    S     = J(names(G), names(P)) + sum_{g in G} max_{p unused, name(p) = name(g)} [ J(keys(g), keys(p)) + V(g, p) ]
    V     = number of keys of g that have an equal value in p
    S_max = 1 + sum_{g in G} (1 + |keys(g)|)

and the share of the correctness reward is S / S_max. Each p matches at most one g, in the order of G; ties go to the
first p, and a p that scores 0 stays unused. S = 0 if the response has no call, or if one of them has no name, or has
the name of a due call but no object of parameters. Values are compared as Python does (true equals 1).

ToolRL's ablations change the granularity:

- `refined`: J is 1 for equal lists in the same order, and 0 for all others;
- `intermediate`: in the sum, a p that equals g counts 1 and any other 0; S_max = 1 + |G|. Nothing is asked of the
  parameters of other calls;
- `coarse`: the share is 1 if the two lists of calls are equal and in the same order, and 0 otherwise.

In all of them, two equal lists of calls have a share of 1. Calls are equal if they are as JSON objects: a further key,
such as an id, makes a call another one. A due call has its name and its parameters, whatever else the row gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from rest_verl.reward.truth import NO_MATCH, DueCall, Match, jaccard

Agreement = Callable[[Sequence[Any], Sequence[Any]], float]


def match_in_order(due: Sequence[DueCall], calls: Sequence[Any], granularity: str = "fine") -> Match:
    """Match calls with the calls of the ground truth, greedily in the order of the ground truth.

    Args:
        due: G, not empty.
        calls: P, as JSON values: objects with `name` and `parameters`, if the policy wrote them so.
        granularity: fine, refined, intermediate or coarse.
    """
    if not _can_be_matched(due, calls, granularity):
        return NO_MATCH
    agreement: Agreement = _equality if granularity == "refined" else jaccard
    name = agreement([wanted.name for wanted in due], [call["name"] for call in calls])
    unused = list(calls)
    arg_keys = arg_values = 0.0
    for wanted in due:
        best, best_score = None, (0.0, 0.0)
        for index, call in enumerate(unused):
            if call["name"] != wanted.name:
                continue
            score = _agreement_of_arguments(wanted.arguments, call.get("parameters"), agreement)
            if sum(score) > sum(best_score):
                best, best_score = index, score
        if best is not None:
            arg_keys += best_score[0]
            arg_values += best_score[1]
            del unused[best]
    arguments = sum(len(wanted.arguments) for wanted in due)
    objects = [{"name": wanted.name, "parameters": wanted.arguments} for wanted in due]
    if objects == list(calls):
        share = 1.0
    elif granularity == "coarse":
        share = 0.0
    elif granularity == "intermediate":
        share = (name + _equal_calls(objects, calls)) / (1 + len(due))
    else:
        share = (name + arg_keys + arg_values) / (1 + len(due) + arguments)
    return Match(share, name, arg_keys / len(due), arg_values / max(arguments, 1))


def _can_be_matched(due: Sequence[DueCall], calls: Sequence[Any], granularity: str) -> bool:
    """Whether ToolRL's code scores these calls. It stops with an error, and gives the minimum, if it cannot look up
    what it needs of a call."""
    if not calls or not all(isinstance(call, dict) and "name" in call for call in calls):
        return False
    # The Jaccard index counts names, so they must be hashable: a list is not.
    if granularity != "refined" and not all(isinstance(call["name"], Hashable) for call in calls):
        return False
    names = [wanted.name for wanted in due]
    needed = [call for call in calls if call["name"] in names] if granularity != "intermediate" else []
    return all(isinstance(call.get("parameters"), dict) for call in needed)


def _equality(first: Sequence[Any], second: Sequence[Any]) -> float:
    return float(first == second)


def _agreement_of_arguments(due: dict[str, Any], given: Any, agreement: Agreement) -> tuple[float, float]:
    """J(keys) and V; nothing if there are no parameters."""
    if not isinstance(given, dict):
        return 0.0, 0.0
    values = sum(key in given and given[key] == value for key, value in due.items())
    return agreement(list(due), list(given)), float(values)


def _equal_calls(due: Sequence[dict[str, Any]], calls: Sequence[Any]) -> float:
    """Number of ground-truth calls with an equal call in the response, paired one to one."""
    unused = list(calls)
    for wanted in due:
        if wanted in unused:
            unused.remove(wanted)
    return float(len(calls) - len(unused))
