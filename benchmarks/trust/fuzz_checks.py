"""What must hold of everything that is read out of hostile text: the invariants that the fuzz targets check."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from rest_verl.config.reward import RewardConfig
from rest_verl.core.regions import Region
from rest_verl.core.tool_calls import ToolCall, Turn
from rest_verl.reward.progress import Part
from rest_verl.reward.tool_reward import COMPONENTS
from rest_verl.reward.truth import GroundTruth

# CPU seconds for a text of some 30 KiB under instrumentation: linear work takes a twentieth of that, quadratic more.
SLOWEST = 2.0
_SHARES = ("legal", "name", "arg_keys", "arg_values", "parse_ok", "acc")
_TOLERANCE = 1e-9


class Broken(AssertionError):
    """An invariant does not hold."""


def hold(condition: bool, what: str, *seen: Any) -> None:
    """Raise Broken unless the condition holds."""
    if not condition:
        raise Broken(what + "".join(f"; {value!r:.300}" for value in seen))


@contextmanager
def in_linear_time(size: int) -> Iterator[None]:
    """The work inside may take so long as linear work takes; libFuzzer's own time-out is for what never ends."""
    begin = time.process_time()
    yield
    spent = time.process_time() - begin
    hold(spent <= SLOWEST, f"{size} bytes took {spent:.1f} s of the CPU")


def check_turn(text: bytes, turn: Turn) -> None:
    """Spans lie inside of the text, are not empty, and come in order without sharing a byte; a call holds its name and
    its arguments, which are apart."""
    wholes = [call.whole for call in turn.calls]
    for spans in (turn.markers, turn.think, turn.response, wholes):
        hold(all(0 <= start < end <= len(text) for start, end in spans), "a span is empty or outside", text, spans)
    for spans in (turn.markers, sorted(turn.think + turn.response + wholes)):
        hold(all(first[1] <= second[0] for first, second in pairwise(spans)), "spans overlap", text, spans)
    for call in turn.calls:
        parts = [span for span in (call.name, call.arguments) if span is not None]
        inside = all(call.whole[0] <= start <= end <= call.whole[1] for start, end in parts)
        hold(inside, "a part lies outside of its call", text, call)
        hold(call.arguments is None or call.arguments[0] < call.arguments[1], "arguments without a byte", text, call)
        hold(all(first[1] <= second[0] for first, second in pairwise(sorted(parts))), "parts overlap", text, call)


def check_call(call: ToolCall | None) -> None:
    """A call has a name of text and arguments of JSON values, or there is none."""
    if call is None:
        return
    hold(type(call) is ToolCall and type(call.name) is str and type(call.arguments) is dict, "no call", call)
    left: list[Any] = [call.arguments]
    while left:
        value = left.pop()
        if type(value) is dict:
            hold(all(type(key) is str for key in value), "a key that is no text", call.name)
            left += value.values()
        elif type(value) is list:
            left += value
        else:
            hold(value is None or type(value) in (str, int, float, bool), "a value that JSON lacks", type(value))


# The Python types of each JSON type, as a schema declares it.
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def check_types(call: ToolCall | None, declared: str) -> None:
    """Each argument of a call that was read by schema is of the declared type, and finite."""
    for key, value in (call.arguments if call else {}).items():
        hold(type(value) in TYPES[declared], "a value outside of its declared type", declared, key, value)
        hold(type(value) is not float or math.isfinite(value), "a number that JSON lacks", value)


def expected_regions(pieces: Sequence[bytes], turn: Turn) -> list[int]:
    """The regions of a turn's tokens the slow way: a label for every byte, the greatest of those in a token."""
    labels = bytearray(sum(map(len, pieces)))
    names = [call.name for call in turn.calls if call.name is not None]
    arguments = [call.arguments for call in turn.calls if call.arguments is not None]
    in_order = {Region.THINK: turn.think, Region.RESPONSE: turn.response, Region.FORMAT: turn.markers}
    for region, spans in (in_order | {Region.ARGS: arguments, Region.NAME: names}).items():
        for start, end in spans:
            labels[start:end] = bytes([region]) * (end - start)
    found, start = [], 0
    for piece in pieces:
        found.append(max(labels[start : start + len(piece)], default=0))
        start += len(piece)
    return found


def check_parts(parts: Sequence[Part], turns: Sequence[bytes]) -> None:
    """Parts of a score come in order, each at a byte of its turn or at the turn's end, with a finite amount."""
    places = [(part.turn, part.byte) for part in parts]
    hold(all(first < second for first, second in pairwise(places)), "parts out of order", places)
    for part in parts:
        hold(0 <= part.turn < len(turns) and 0 <= part.byte <= len(turns[part.turn]), "a part outside", part)
        hold(type(part.amount) is float and math.isfinite(part.amount), "no finite amount", part)


def check_reward(
    found: Mapping[str, float],
    settings: RewardConfig,
    step: int,
    truth: GroundTruth,
    more: Sequence[str] = (),
    acc_is_exact: bool = True,
) -> None:
    """Every component is there, finite and within its bounds; the score is the sum of its parts; the rules `strict`
    give all of the correctness reward for nothing but exactly the calls, or the answer, that are due.

    Args:
        found: components by name.
        settings: of the reward.
        step: at which it was given.
        truth: what was asked for.
        more: names of components that the scorer adds.
        acc_is_exact: whether `acc` is by the rules of `ToolReward.score` and not by a benchmark's own.
    """
    hold(set(found) == {*COMPONENTS, *more}, "other components than are known", sorted(found))
    hold(all(type(value) is float and math.isfinite(value) for value in found.values()), "no finite float", found)
    hold(all(0 <= found[name] <= 1 for name in _SHARES), "a share is not in [0, 1]", found)
    hold(all(found[name] in (0, 1) for name in ("legal", "parse_ok", "acc")), "neither 0 nor 1", found)
    hold(found["score"] == found["format"] + found["correctness"] + found["length"], "not the sum", found)
    bounds = (settings.format_min, settings.format_max, settings.correctness_min, settings.correctness_max)
    format_min, format_max, low, high = (ramp.schedule()(step) for ramp in bounds)
    hold(found["format"] == (format_max if found["legal"] else format_min), "the format reward is another", found)
    hold(settings.length.min <= found["length"] <= settings.length.max, "length beyond its bounds", found)
    is_due = truth.kind.calls or settings.rules == "strict"
    least, most = (low, high) if is_due else (0.0, 0.0)
    hold(least - _TOLERANCE <= found["correctness"] <= most + _TOLERANCE, "correctness beyond its bounds", found)
    if settings.rules == "strict" and acc_is_exact:
        hold(found["correctness"] < high or found["acc"] == 1, "the whole reward for other calls", found)
