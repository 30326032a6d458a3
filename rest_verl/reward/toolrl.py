"""The reward of ToolRL (arXiv 2504.13958) with ResT's dynamic bounds: R = F + C. Pure functions.

Format. F = F_max(s) where the response is legal for the kind of its ground truth (calls, answer, or both), else
F_min(s).

Correctness. Let G be the calls of the ground truth and P those of the response. With J(a, b) the multiset Jaccard
index |a & b| / |a | b| (1 for two equal lists, 0 where just one is empty):

    S     = J(names(G), names(P)) + sum_{g in G} max_{p unused, name(p) = name(g)} [ J(keys(g), keys(p)) + V(g, p) ]
    V     = number of keys of g that p has with an equal value
    S_max = 1 + sum_{g in G} (1 + |keys(g)|)
    C     = C_min(s) + (C_max(s) - C_min(s)) * S / S_max

Each p serves one g, in the order of G; of equal ones the first is taken, and one that scores 0 is not used up. A
response without a readable call, or with one that is not readable, has S = 0. Where the ground truth has no call,
C = 0.

The bounds F_min .. C_max move with the global step s (`config.RewardConfig`); `acc` does not: it is 1 where the calls
are exactly those of the ground truth in any order, or, where none is due, where none is made and an answer is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rest_verl.core.curriculum import Schedule
from rest_verl.core.formats.rlla import RLLA
from rest_verl.core.tool_calls import Kind, ToolCall, Turn, WireFormat


@dataclass(frozen=True)
class GroundTruth:
    """What a row asks for."""

    kind: Kind
    calls: list[ToolCall]


@dataclass(frozen=True)
class Bounds:
    """The range of the format and of the correctness reward, over training."""

    format_min: Schedule
    format_max: Schedule
    correctness_min: Schedule
    correctness_max: Schedule


@dataclass(frozen=True)
class Match:
    """How well calls match the ground truth.

    Attributes:
        name: J(names), in [0, 1].
        arg_keys: sum of J(keys) over the ground truth's calls.
        arg_values: number of equal values.
        most: S_max.
        exact: whether both hold the same calls, in any order.
    """

    name: float
    arg_keys: float
    arg_values: float
    most: float
    exact: bool


def read_ground_truth(text: str) -> GroundTruth:
    """Read a ground truth in the rlla format, as ToolRL's data holds it.

    Raises:
        ValueError: it is no text, has neither a call nor a `<response>`, or has a call that is not legal JSON with
            name and arguments.
    """
    if not isinstance(text, str):
        raise ValueError(f"ground truth that is no text but {text!r:.120}")
    raw = text.encode("utf-8", "surrogatepass")
    turn = RLLA.parse(raw)
    calls = RLLA.read_calls(raw, turn)
    readable = [call for call in calls if call is not None]
    if len(readable) < len(calls):
        raise ValueError(f"ground truth with a call that cannot be read: {_shorten(text)}")
    if not calls and not turn.response:
        raise ValueError(f"ground truth with neither <tool_call> nor <response>: {_shorten(text)}")
    return GroundTruth(Kind(calls=bool(calls), answer=bool(turn.response)), readable)


def score_response(
    turns: Sequence[bytes], truth: GroundTruth, wire_format: WireFormat, bounds: Bounds, step: int
) -> dict[str, float]:
    """Score what the policy wrote.

    Args:
        turns: the bytes of each turn that the policy generated. Of several turns each must be legal for some kind; a
            single one must be legal for the kind of the ground truth. The calls of all turns count together.
        truth: what was asked for.
        wire_format: how the policy writes.
        bounds: ranges of F and C.
        step: global step.

    Returns:
        every component by name; `score` is the reward.
    """
    parsed = [(text, wire_format.parse(text)) for text in turns]
    calls = [call for text, turn in parsed for call in wire_format.read_calls(text, turn)]
    readable = [call for call in calls if call is not None]
    parse_ok = len(readable) == len(calls)
    legal = _is_legal(parsed, truth.kind, wire_format)
    match = match_calls(truth.calls, readable if parse_ok else [])
    correctness = 0.0
    if truth.kind.calls:
        low, high = bounds.correctness_min(step), bounds.correctness_max(step)
        correctness = low + (high - low) * (match.name + match.arg_keys + match.arg_values) / match.most
    format_reward = bounds.format_max(step) if legal else bounds.format_min(step)
    answered = not calls and any(text[slice(*span)].strip() for text, turn in parsed for span in turn.response)
    return {
        "score": format_reward + correctness,
        "format": format_reward,
        "correctness": correctness,
        "legal": float(legal),
        "name": match.name,
        "arg_keys": match.arg_keys / max(len(truth.calls), 1),
        "arg_values": match.arg_values / max(sum(len(call.arguments) for call in truth.calls), 1),
        "parse_ok": float(parse_ok),
        "calls": float(len(calls)),
        "extra_calls": float(max(len(calls) - len(truth.calls), 0)),
        "acc": float(parse_ok and match.exact if truth.kind.calls else answered),
        "skipped": 0.0,
    }


def skipped_components() -> dict[str, float]:
    """Components of a response whose ground truth cannot be read: all 0, counted by `skipped`. All responses to the
    prompt score alike, so a group-relative advantage makes nothing of them."""
    nothing = GroundTruth(Kind(calls=False, answer=True), [])
    still = Bounds(*[lambda step: 0.0] * 4)
    return dict.fromkeys(score_response([], nothing, RLLA, still, 0), 0.0) | {"skipped": 1.0}


def match_calls(truth: Sequence[ToolCall], predicted: Sequence[ToolCall]) -> Match:
    """Match predicted calls to the ground truth's, greedily in the order of the ground truth."""
    if not predicted:
        return Match(0.0, 0.0, 0.0, _most(truth), exact=not truth)
    unused = list(predicted)
    arg_keys = arg_values = 0.0
    for due in truth:
        best, best_keys, best_values = None, 0.0, 0
        for index, call in enumerate(unused):
            if call.name != due.name:
                continue
            keys = jaccard(list(due.arguments), list(call.arguments))
            values = sum(
                key in call.arguments and call.arguments[key] == value for key, value in due.arguments.items()
            )
            if keys + values > best_keys + best_values:
                best, best_keys, best_values = index, keys, values
        if best is not None:
            del unused[best]
            arg_keys += best_keys
            arg_values += best_values
    names = jaccard([call.name for call in truth], [call.name for call in predicted])
    exact = names + arg_keys + arg_values == _most(truth)
    return Match(names, arg_keys, arg_values, _most(truth), exact)


def jaccard(first: list[str], second: list[str]) -> float:
    """Multiset Jaccard index; 1 for two equal lists (also empty ones)."""
    if first == second:
        return 1.0
    common = (Counter(first) & Counter(second)).total()
    return common / (len(first) + len(second) - common)


def _most(truth: Sequence[ToolCall]) -> float:
    return 1.0 + sum(1.0 + len(call.arguments) for call in truth)


def _is_legal(parsed: Sequence[tuple[bytes, Turn]], kind: Kind, wire_format: WireFormat) -> bool:
    if len(parsed) == 1:
        return wire_format.is_legal(*parsed[0], kind)
    kinds = [Kind(calls=True, answer=False), Kind(calls=False, answer=True), Kind(calls=True, answer=True)]
    return bool(parsed) and all(any(wire_format.is_legal(*turn, kind) for kind in kinds) for turn in parsed)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:120] + "...")
