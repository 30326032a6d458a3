"""Ground truths: the kind of turn that is due and the due calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.formats.rlla import RLLA


@dataclass(frozen=True)
class DueCall:
    """A due call.

    Attributes:
        name: name of the tool.
        arguments: one right set of arguments.
        optional: names of arguments that a right call may leave out, even if they are in `arguments`.
        accepts: whether a value is right for an argument, optional or not; None if only the value in `arguments` is.
    """

    name: str
    arguments: dict[str, Any]
    optional: frozenset[str] = frozenset()
    accepts: Callable[[str, Any], bool] | None = None


@dataclass(frozen=True)
class GroundTruth:
    """Ground truth of a row.

    Attributes:
        kind: kind of response that is due; with kind.calls and empty `calls`, any call is right.
        calls: the due calls.
    """

    kind: Kind
    calls: Sequence[DueCall]


def read_ground_truth(text: Any) -> GroundTruth:
    """Read a ground truth in the rlla format of ToolRL's data.

    Raises:
        ValueError: it is not text, has neither a call nor a `<response>`, or has a call that is not legal JSON with
            name and arguments.
    """
    if not isinstance(text, str):
        raise ValueError(f"ground truth that is not text but {text!r:.120}")
    raw = text.encode("utf-8", "surrogatepass")
    turn = RLLA.parse(raw)
    calls = RLLA.read_calls(raw, turn)
    readable = [DueCall(call.name, call.arguments) for call in calls if call is not None]
    if len(readable) < len(calls):
        raise ValueError(f"ground truth with a call that cannot be read: {_shorten(text)}")
    if not calls and not turn.response:
        raise ValueError(f"ground truth with neither <tool_call> nor <response>: {_shorten(text)}")
    return GroundTruth(Kind(calls=bool(calls), answer=bool(turn.response)), readable)


def equal_json(first: Any, second: Any) -> bool:
    """Whether two JSON values are equal and of equal type: 1 equals 1.0, but neither true nor "1"."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal_json(value, second[key]) for key, value in first.items())
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(equal_json, first, second))
    return first == second


def same_calls(due: Sequence[DueCall], calls: Sequence[ToolCall]) -> bool:
    """Whether the calls are exactly the due calls, in any order."""
    left = list(calls)
    if len(due) != len(left):
        return False
    for wanted in due:
        found = next((index for index, call in enumerate(left) if _is_equal(wanted, call)), None)
        if found is None:
            return False
        del left[found]
    return True


def _is_equal(due: DueCall, call: ToolCall) -> bool:
    return call.name == due.name and equal_json(call.arguments, due.arguments)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:120] + "...")


@dataclass(frozen=True)
class Match:
    """Parts of a match, each in [0, 1].

    Attributes:
        share: share of the correctness reward.
        name: agreement of the tools' names.
        arg_keys: agreement of the arguments' names, mean over the due calls.
        arg_values: share of the due arguments with a right value.
    """

    share: float
    name: float = 0.0
    arg_keys: float = 0.0
    arg_values: float = 0.0


NO_MATCH = Match(0.0)


def jaccard(first: Sequence[str], second: Sequence[str]) -> float:
    """Multiset Jaccard index |a & b| / |a | b|; 1 for two equal lists, empty ones included."""
    if first == second:
        return 1.0
    common = (Counter(first) & Counter(second)).total()
    return common / (len(first) + len(second) - common)
