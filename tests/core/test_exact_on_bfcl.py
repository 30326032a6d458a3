"""Tagging is exact on the calls that BFCL asks for, in every wire format: `pytest -s` prints the counts.

With `--all` on all of them; without it on some of each category, other ones in each format.
"""

from functools import cache

import bfcl_calls
import pytest
import qwen
from parts import Part, text_of
from render import CALLS_OR_ANSWER, RENDERERS
from segment import as_qwen, at_random, count_tagged
from tiers import in_full

pytestmark = [
    pytest.mark.skipif(missing is not None, reason=str(missing)) for missing in (bfcl_calls.MISSING, qwen.MISSING)
]


TURNS = 15  # of a category, without --all


@cache
def asked(format: str) -> list[bfcl_calls.Asked]:
    """The turns that a format is tried on."""
    every = [*bfcl_calls.multi_turn(), *bfcl_calls.single_turn()]
    return in_full(bfcl_calls.sample(every, TURNS, sorted(RENDERERS).index(format)), every)


def rendered(format: str) -> list[list[Part]]:
    """One turn for each that BFCL asks for: most with reasoning, some with an answer beside the calls."""
    turns = []
    for number, turn in enumerate(asked(format)):
        thought = "" if number % 4 == 3 else f"The user says: {turn.question[:100]}\nSo I see what I need."
        answers = not turn.calls or (number % 3 == 2 and format not in CALLS_OR_ANSWER)
        answer = f"I see to this: {turn.question[:40]}" if answers else ""
        turns.append(RENDERERS[format](thought, turn.calls, answer))
    return turns


def tool_output(format: str) -> bytes:
    """What a tool wrote: a whole turn with a call, and half of one."""
    turn = text_of(RENDERERS[format]("I call f.", [("f", {"a": "b"})], ""))
    return turn + turn[: len(turn) * 3 // 4]


def test_bfcl_asks_for_so_many_calls():
    assert sum(len(turn.calls) for turn in bfcl_calls.multi_turn()) == 4625
    assert sum(len(turn.calls) for turn in bfcl_calls.single_turn()) == 3152


@pytest.mark.parametrize("cut", [as_qwen, at_random], ids=["as_qwen", "at_random"])
@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_every_token_of_every_call_has_the_region_of_what_it_touches(format, cut):
    calls = [call for turn in asked(format) for call in turn.calls]
    counted = count_tagged(format, rendered(format), tool_output(format), cut)
    print(f"\n{format}, cut {cut.__name__}: {len(calls):,} calls, {counted}")
    assert counted.wrong == 0, counted.example
    assert counted.names == len(calls)
    # some formats write nothing for a call without arguments
    assert sum(bool(arguments) for _, arguments in calls) <= counted.arguments <= len(calls)
