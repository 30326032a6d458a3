"""How far blind calls get in BFCL's multi-turn tasks, and what they earn: the numbers of docs/rewards.md.

The fast tier has the same rule on a small task, tests/faults/test_rewards.py.
"""

import copy
import json
from collections import Counter

import pytest
from bfcl_calls import MISSING

from rest_verl.core.tool_calls import ToolCall

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows
from rest_verl.bfcl.multi_turn.checker import Checker, Verdict
from rest_verl.bfcl.multi_turn.executor import Executor


def executor(task):
    return Executor(task["involved_classes"], task["initial_config"], task["long_context"])


def reading_calls(task):
    """The due calls of each turn with whether each left the state as it was."""
    acting, turns = executor(task), []
    for calls in task["ground_truth"]:
        found = []
        for call in calls:
            before = copy.deepcopy(acting.states())
            acting.call(**call)
            found.append((call, before == acting.states()))
        turns.append(found)
    return turns


def blind(task, number, tools, calls):
    """The turn's verdict and the trajectory's score after the due calls up to a turn, and these calls in it."""
    due = [[ToolCall(**call) for call in turn] for turn in task["ground_truth"]]
    acting, checker = executor(task), Checker(due, executor(task))
    for turn in task["ground_truth"][:number]:
        for call in turn:
            checker.note_call(acting.call(**call))
        checker.judge_turn(acting)
    for call in calls:
        if call["name"] in tools & acting.names():
            checker.note_call(acting.call(**call))
    return checker.judge_turn(acting), checker.score()


@pytest.mark.release
def test_blind_calls_answer_most_turns_that_only_read_and_are_charged():
    """330 turns of `base` need nothing but calls that read. All reading calls of the other tasks, made blindly, are
    right in 196 of them by BFCL's rule; the score falls by 0.26 all the same."""
    rows = [json.loads(row["extra_info"]["environment_kwargs"]) for row in bfcl_multi_turn_rows()]
    tasks = [(task, reading_calls(task)) for task in rows if task["id"].startswith("multi_turn_base")]
    writing = {call["name"] for _, turns in tasks for turn in turns for call, reads in turn if not reads}
    read = [
        {json.dumps(call) for turn in turns for call, reads in turn if reads and call["name"] not in writing}
        for _, turns in tasks
    ]
    tools = frozenset(json.loads(call)["name"] for calls in read for call in calls)
    known = Counter(call for calls in read for call in calls)
    asked = right = made = 0
    gained = []
    for (task, turns), mine in zip(tasks, read, strict=True):
        others = [json.loads(call) for call in sorted(known) if known[call] > (call in mine)]
        for number, turn in enumerate(turns):
            if turn and all(reads for _, reads in turn):
                verdict, score = blind(task, number, tools, others)
                asked += 1
                right += verdict is Verdict.RIGHT
                made += score["calls_surplus"] + len(turn)
                honest = sum(bool(calls) for calls in turns[:number]) / score["turns_due"]
                gained.append(score["score"] - honest)
    change = sum(gained) / asked
    print(f"\nblind calls: {right} of {asked} turns right, {made / asked:.0f} calls a turn, score {change:+.2f}")
    assert (asked, right) == (330, 196)
    assert change == pytest.approx(-0.26, abs=0.005)
