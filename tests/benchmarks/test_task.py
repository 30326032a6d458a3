import json
from itertools import chain

import pytest
from evidence.task import TOOLS, is_unseen, make_task

from rest_verl.reward.truth import read_ground_truth


@pytest.fixture(scope="module")
def task():
    return make_task(0, train_rows=400, validation_rows=40)


def calls_of(row):
    return read_ground_truth(row["reward_model"]["ground_truth"]).calls


def test_a_seed_decides_the_task_and_no_prompt_occurs_twice(task):
    assert make_task(0, 400, 40) == task
    assert make_task(1, 400, 40).train != task.train
    assert len({json.dumps(row["prompt"]) for row in chain(task.train, task.validation)}) == 440


def test_only_validation_has_unseen_combinations(task):
    for row in task.train:
        names = sorted(call.name for call in calls_of(row))
        assert not (len(names) == 2 and is_unseen(*names))
        assert not row["extra_info"]["unseen"]
    assert sum(row["extra_info"]["unseen"] for row in task.validation) == 20
    assert {row["data_source"] for row in task.validation} == {"hard_tools", "hard_tools_unseen"}


def test_right_calls_are_of_listed_tools(task):
    kinds = set()
    for row in task.train:
        listed = row["prompt"][0]["content"].split()
        kinds.add(row["extra_info"]["kind"])
        assert len(set(listed)) == 4
        assert {call.name for call in calls_of(row)} <= set(listed)
        assert bool(calls_of(row)) is (row["extra_info"]["kind"] != "answer")
    assert kinds == {"answer", "two_calls", "second_turn", "one_call"}


def test_a_second_turn_repeats_the_call_with_one_change(task):
    rows = [row for row in task.train if row["extra_info"]["kind"] == "second_turn"]
    assert len(rows) > 40
    for row in rows:
        assert [message["role"] for message in row["prompt"]] == ["system", "user", "assistant", "tool", "user"]
        (before,), (after,) = read_ground_truth(row["prompt"][2]["content"]).calls, calls_of(row)
        changed = [key for key in before.arguments if before.arguments[key] != after.arguments[key]]
        assert (before.name, before.arguments.keys()) == (after.name, after.arguments.keys()) and len(changed) == 1
        assert str(after.arguments[changed[0]]) in row["prompt"][4]["content"]


def test_the_teacher_is_right_and_wrong_at_times_for_every_tool(task):
    right, wrong = set(), set()
    for row, (_, taught) in zip(task.train, task.demonstrations, strict=True):
        for call in calls_of(row):
            (right if taught == row["reward_model"]["ground_truth"] else wrong).add(call.name)
    assert right == wrong == {tool.name for tool in TOOLS}
