"""The Berkeley Function Calling Leaderboard (BFCL), single-turn: `acc` is the leaderboard's own verdict.

A ground truth is a JSON object as text: `answer`, one right turn in the rlla format; `functions`, BFCL's descriptions
of the tools; `possible_answer`, the accepted values of every argument; `category`. In the reward, under the rules
`strict`, every value that the leaderboard accepts counts as right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rest_verl.bfcl.verdict.checker import CATEGORIES, accepts, check_calls, optional_arguments
from rest_verl.core.tool_calls import Kind
from rest_verl.reward.response import Response
from rest_verl.reward.scorers import register_scorer
from rest_verl.reward.tool_reward import RewardAtStep
from rest_verl.reward.truth import DueCall, GroundTruth, read_ground_truth


@dataclass(frozen=True)
class _Written:
    """The ground truth of a row."""

    answer: str
    functions: list[dict[str, Any]]
    possible_answer: list[dict[str, dict[str, Any]]]
    category: str


_WRITTEN = TypeAdapter(_Written)


@dataclass(frozen=True)
class BfclTruth:
    """The expected answer of a BFCL row.

    Attributes:
        truth: for the reward.
        functions, possible_answer, category: for the verdict.
    """

    truth: GroundTruth
    functions: Sequence[Mapping[str, Any]]
    possible_answer: Sequence[Mapping[str, Any]]
    category: str


def read_bfcl(text: Any) -> BfclTruth:
    """Read a ground truth (`Scorer.read`).

    Raises:
        ValueError: it is not a JSON object with these keys, its category is unknown, or its answer cannot be read or
            differs from the accepted calls.
    """
    if not isinstance(text, str):
        raise ValueError(f"ground truth of BFCL that is not text but {text!r:.120}")
    try:
        written = _WRITTEN.validate_json(text.encode("utf-8", "surrogatepass"))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip() for item in error.errors())
        raise ValueError(f"ground truth of BFCL: {faults}: {text!r:.120}") from None
    if written.category not in CATEGORIES:
        raise ValueError(f"ground truth of BFCL of category {written.category!r}; allowed: {', '.join(CATEGORIES)}")
    if written.category == "live_relevance":
        truth = GroundTruth(Kind(calls=True, answer=False), [])
    else:
        truth = _with_accepted_values(read_ground_truth(written.answer), written)
    return BfclTruth(truth, written.functions, written.possible_answer, written.category)


@register_scorer("bfcl_*", read=read_bfcl, truth=attrgetter("truth"))
def score_bfcl(response: Response, asked: BfclTruth, reward: RewardAtStep) -> dict[str, float]:
    """Score a response (`Scorer.score`). If one call is unreadable, all count as absent, as on the leaderboard."""
    wrong = check_calls(asked.functions, response.readable, asked.possible_answer, asked.category)
    return reward(response, asked.truth) | {"acc": float(wrong is None)}


def _with_accepted_values(answer: GroundTruth, written: _Written) -> GroundTruth:
    wanted = [item for accepted in written.possible_answer for item in accepted.items()]
    if (calls := [call.name for call in answer.calls]) != (names := [name for name, _ in wanted]):
        raise ValueError(f"ground truth of BFCL whose answer calls {calls} instead of {names}")
    described = {function.get("name"): function for function in written.functions}
    if missing := set(names) - described.keys():
        raise ValueError(f"ground truth of BFCL that calls {sorted(missing)}, which its functions do not describe")
    due = [
        _due_call(call, described[name], accepted, written.category)
        for call, (name, accepted) in zip(answer.calls, wanted, strict=True)
    ]
    return GroundTruth(answer.kind, due)


def _due_call(
    call: DueCall, function: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]], category: str
) -> DueCall:
    return DueCall(
        call.name,
        call.arguments,
        optional=optional_arguments(function, accepted),
        accepts=partial(_accepts, function, accepted, category),
    )


def _accepts(
    function: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]], category: str, key: str, value: Any
) -> bool:
    return accepts(function, accepted, key, value, category)
