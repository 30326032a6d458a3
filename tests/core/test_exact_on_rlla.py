"""Tagging is exact on ToolRL's own test rows, against labels that `json` gives: `pytest -s` prints the counts."""

import json
import re

import pytest
import qwen
from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Part, text_of
from segment import as_qwen, at_random, count_tagged
from shared_data import TOOLRL_TEST

from rest_verl.data.rlla import read_rlla

pytestmark = [
    pytest.mark.skipif(not TOOLRL_TEST.is_file(), reason="ToolRL's test rows are not part of this project"),
    pytest.mark.skipif(qwen.MISSING is not None, reason=str(qwen.MISSING)),
]

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


@pytest.mark.parametrize("cut", [as_qwen, at_random], ids=["as_qwen", "at_random"])
def test_every_token_of_every_row_has_the_region_of_what_it_touches(cut):
    turns = [labelled(row["reward_model"]["ground_truth"]) for row in read_rlla(TOOLRL_TEST)]
    counted = count_tagged("rlla", turns, b'<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {', cut)
    print(f"\n{len(turns)} rows, cut {cut.__name__}: {counted}")
    assert counted.wrong == 0, counted.example
    assert (len(turns), counted.names, counted.arguments) == (80, 123, 123)
