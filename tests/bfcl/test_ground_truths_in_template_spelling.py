"""BFCL's ground truths, written as each model's chat template writes them, are read back as they are.

Templates write a text as it is. Other values are JSON, or Python where the template says `| string`. Only the schema
tells `94107` the text from the number. In full in the second tier; the first tier reads two categories.
"""

import json
from functools import cache

import pytest
from template_spelling import CONTRADICTIONS, SPELLINGS
from tiers import in_full

from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.bfcl.verdict.checker import CATEGORIES
from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats import get_format
from rest_verl.formats.tools import tools_of_row
from rest_verl.reward.truth import read_ground_truth

pytest.importorskip("bfcl_eval", reason="BFCL's data is not installed")

ANSWERED = [category for category in CATEGORIES if not category.endswith("relevance")]
ASKED = in_full(fast=["live_simple"], release=ANSWERED)
DIALOGUES = in_full(fast=["multi_turn_miss_param"], release=MULTI_TURN_CATEGORIES)

PYTHON_KEYWORDS = {"simple_java_62", "simple_java_63"}  # arguments named `from`
ALLOWED = {"kimi": set(), "hermes": set(), "pythonic": PYTHON_KEYWORDS}


@cache
def tasks():
    """(id, calls, tools) of every row with a ground truth."""
    found = []
    for row in bfcl_rows(ASKED):
        calls = read_ground_truth(json.loads(row["reward_model"]["ground_truth"])["answer"]).calls
        found.append((row["extra_info"]["id"], calls, tools_of_row(row["extra_info"])))
    for row in bfcl_multi_turn_rows(DIALOGUES):
        turns = json.loads(row["reward_model"]["ground_truth"])
        calls = [ToolCall(**call) for turn in turns for call in turn]
        found.append((row["extra_info"]["id"], calls, tools_of_row(row["extra_info"])))
    return found


def read_back(spelling, call, tools):
    format, write, spell = SPELLINGS[spelling]
    text = write(call, spell).encode()
    wire_format = get_format(format)
    return wire_format.read_calls(text, wire_format.parse(text), tools)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_ground_truth_is_read_back_in_the_templates_spelling(spelling):
    wrong = {
        id: (call, read)
        for id, calls, tools in tasks()
        for call in calls
        if repr(read := read_back(spelling, call, tools)) != repr([ToolCall(call.name, call.arguments)])
    }
    assert wrong.keys() <= ALLOWED.get(spelling, CONTRADICTIONS), wrong


@pytest.mark.release
def test_without_the_schemas_a_tenth_to_a_third_of_all_tasks_is_read_wrongly():
    """What the schemas are for: the numbers without them, in the spelling of JSON and of Python."""

    def wrong(spelling):
        return sum(
            any(repr(read_back(spelling, call, {})) != repr([ToolCall(call.name, call.arguments)]) for call in calls)
            for _, calls, _ in tasks()
        )

    assert len(tasks()) == 3301
    assert [wrong(spelling) for spelling in ("hermes", "glm", "qwen3_coder")] == [0, 414, 986]
