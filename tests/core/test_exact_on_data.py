"""Tagging is exact: on the calls that BFCL asks for, in every wire format, and on ToolRL's own test rows, against
labels that `json` gives. `pytest -s` prints the counts.

Of BFCL's calls some of each category, other ones in each format; with `--all` every one.
"""

import json
import re
from functools import cache

import bfcl_calls
import pytest
import qwen
from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Part, text_of
from render import CALLS_OR_ANSWER, RENDERERS
from segment import as_qwen, at_random, count_tagged
from shared_data import TOOLRL_TEST
from tiers import in_full

from rest_verl.data.rlla import read_rlla

pytestmark = pytest.mark.skipif(qwen.MISSING is not None, reason=str(qwen.MISSING))
needs_bfcl = pytest.mark.skipif(bfcl_calls.MISSING is not None, reason=str(bfcl_calls.MISSING))
needs_toolrl = pytest.mark.skipif(not TOOLRL_TEST.is_file(), reason="ToolRL's test rows are not part of this project")
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


@needs_bfcl
def test_bfcl_asks_for_so_many_calls():
    assert sum(len(turn.calls) for turn in bfcl_calls.multi_turn()) == 4625
    assert sum(len(turn.calls) for turn in bfcl_calls.single_turn()) == 3152


@needs_bfcl
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


BLOCK = re.compile(r"(\s*)<(think|tool_call|response)>(.*?)</\2>", re.DOTALL)
KEY = re.compile(r'[\s{,]*("\w+")\s*:\s*')


def labelled(turn: str) -> list[Part]:
    """A legal turn as labelled parts, found by its tags and, in each line of its calls, by `json` alone."""
    parts: list[Part] = []
    position = 0
    while block := BLOCK.match(turn, position):
        between, tag, inside = block.groups()
        if tag == "tool_call":
            content = [part for line in inside.splitlines(keepends=True) for part in labelled_line(line)]
        else:
            content = [(inside.encode(), {"think": THINK, "response": RESPONSE}[tag])]
        parts += [(between.encode(), OTHER), (f"<{tag}>".encode(), FORMAT), *content, (f"</{tag}>".encode(), FORMAT)]
        position = block.end()
    assert text_of(parts) == turn.encode()
    return parts


def labelled_line(line: str) -> list[Part]:
    """One line of a block of calls: white space, or an object whose members the decoder reads one by one."""
    read = json.JSONDecoder().raw_decode
    parts: list[Part] = []
    position = 0
    while member := KEY.match(line, position):
        _, end = read(line, member.end())
        value = line[member.end() : end]
        if member[1] == '"name"':
            parts += [((member[0] + '"').encode(), OTHER), (value[1:-1].encode(), NAME), (b'"', OTHER)]
        else:
            parts += [(member[0].encode(), OTHER), (value.encode(), ARGS)]
        position = end
    assert not line[position:].strip("} \n")
    return [*parts, (line[position:].encode(), OTHER)]


@needs_toolrl
@pytest.mark.parametrize("cut", [as_qwen, at_random], ids=["as_qwen", "at_random"])
def test_every_token_of_every_row_has_the_region_of_what_it_touches(cut):
    turns = [labelled(row["reward_model"]["ground_truth"]) for row in read_rlla(TOOLRL_TEST)]
    counted = count_tagged("rlla", turns, b'<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {', cut)
    print(f"\n{len(turns)} rows, cut {cut.__name__}: {counted}")
    assert counted.wrong == 0, counted.example
    assert (len(turns), counted.names, counted.arguments) == (80, 123, 123)
