"""Results and verdicts are those of BFCL's own executor and checker, on its ground truths and on what is near them.

With `--all` on all 800 tasks, without it on every eighth, and on ten times as many mutated trajectories.
"""

import asyncio
import json
import random

import pytest
from bfcl_calls import MISSING
from bfcl_multi_turn_reference import Job, ask_reference, source_of
from tiers import in_full

from rest_verl.rollout.environment import get_environment

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows

MUTATED = in_full(200, 2000)


@pytest.fixture(scope="module")
def tasks():
    """The arguments of the environment, of all 800 tasks or of some of each category."""
    rows = bfcl_multi_turn_rows()[:: in_full(8, 1)]
    return [json.loads(row["extra_info"]["environment_kwargs"]) for row in rows]


def in_steps(calls, generator):
    """The calls of a turn, spread over steps."""
    steps = []
    for call in calls:
        if steps and generator.random() < 0.5:
            steps[-1].append(call)
        else:
            steps.append([call])
    return steps


def job_of(task, made):
    entry = {key: task[key] for key in ("id", "initial_config", "involved_classes")}
    due = [[source_of(**call) for call in calls] for calls in task["ground_truth"]]
    return Job(entry, due, [[[source_of(**call) for call in step] for step in turn] for turn in made])


async def run(task, made):
    """What the environment answers and how it scores, where the trajectory ends behind the last turn in `made`."""
    environment = get_environment("bfcl_multi_turn")(**task)
    await environment.reset()
    results = []
    for number, turn in enumerate(made):
        for step in turn:
            for call in step:
                try:
                    results.append(await environment.call(call["name"], call["arguments"]))
                except KeyError:
                    results.append(None)
        if number + 1 < len(made):
            assert await environment.next_user_turn()
    score = await environment.score()
    await environment.close()
    return results, score


def test_ground_truths_get_bfcls_results_and_are_right(tasks):
    generator = random.Random(0)
    made = [[in_steps(calls, generator) for calls in task["ground_truth"]] for task in tasks]
    theirs = ask_reference([job_of(task, one) for task, one in zip(tasks, made, strict=True)])
    compared = 0
    for task, one, their in zip(tasks, made, theirs, strict=True):
        results, score = asyncio.run(run(task, one))
        assert results == their["results"], task["id"]
        assert their["valid"] and score["acc"] == score["score"] == 1, task["id"]
        compared += len(results)
    assert len(tasks) == in_full(100, 800) and compared == in_full(compared, 4625) > 400


def mutate(task, strangers, generator):
    """A trajectory near the ground truth, as calls by turn, and the names of what was changed."""
    turns = [list(calls) for calls in task["ground_truth"]]
    changes = generator.choices(list(CHANGES), k=generator.choice([0, 1, 1, 1, 2, 3]))
    for change in changes:
        CHANGES[change](turns, strangers, generator)
    return turns, changes


def some_turn(turns, generator):
    return generator.choice([turn for turn in turns if turn] or turns)


def drop(turns, strangers, generator):
    if turn := some_turn(turns, generator):
        turn.pop(generator.randrange(len(turn)))


def double(turns, strangers, generator):
    if turn := some_turn(turns, generator):
        turn.insert(generator.randrange(len(turn) + 1), generator.choice(turn))


def add(turns, strangers, generator):
    turn = generator.choice(turns)
    turn.insert(generator.randrange(len(turn) + 1), generator.choice(strangers))


def reorder(turns, strangers, generator):
    generator.shuffle(some_turn(turns, generator))


def change_argument(turns, strangers, generator):
    if not (turn := some_turn(turns, generator)):
        return
    number = generator.randrange(len(turn))
    call = turn[number]
    if call["arguments"]:
        key = generator.choice(list(call["arguments"]))
        others = [one["arguments"][key] for one in strangers if key in one["arguments"]]
        value = generator.choice([*others, "", 7, -1.5, None, [], True])
        turn[number] = {"name": call["name"], "arguments": {**call["arguments"], key: value}}


def leave_out_argument(turns, strangers, generator):
    if turn := some_turn(turns, generator):
        number = generator.randrange(len(turn))
        arguments = dict(list(turn[number]["arguments"].items())[1:])
        turn[number] = {"name": turn[number]["name"], "arguments": arguments}


def unknown_tool(turns, strangers, generator):
    generator.choice(turns).append({"name": "no_such_tool", "arguments": {"a": 1}})


def skip_turn(turns, strangers, generator):
    some_turn(turns, generator).clear()


def call_in_empty_turn(turns, strangers, generator):
    generator.choice([turn for turn in turns if not turn] or turns).append(generator.choice(strangers))


def move_to_neighbour(turns, strangers, generator):
    number = generator.randrange(len(turns))
    if turns[number] and len(turns) > 1:
        turns[number - 1 if number else 1].append(turns[number].pop(0))


def end_early(turns, strangers, generator):
    if len(turns) > 1:
        del turns[generator.randrange(1, len(turns)) :]


CHANGES = {
    change.__name__: change
    for change in (
        drop,
        double,
        add,
        reorder,
        change_argument,
        leave_out_argument,
        unknown_tool,
        skip_turn,
        call_in_empty_turn,
        move_to_neighbour,
        end_early,
    )
}


def calls_of_classes(tasks):
    """Every call of the ground truths, by the classes that its task involves."""
    found = {}
    for task in tasks:
        calls = found.setdefault(frozenset(task["involved_classes"]), {})
        calls |= {json.dumps(call): call for turn in task["ground_truth"] for call in turn}
    return {classes: list(calls.values()) for classes, calls in found.items()}


def test_both_checkers_agree_on_mutated_trajectories(tasks):
    generator = random.Random(1)
    strangers = calls_of_classes(tasks)
    mutated = []
    for _ in range(MUTATED):
        task = generator.choice(tasks)
        turns, changes = mutate(task, strangers[frozenset(task["involved_classes"])], generator)
        mutated.append((task, [in_steps(calls, generator) for calls in turns], changes))
    theirs = ask_reference([job_of(task, made) for task, made, _ in mutated])
    accepted = 0
    for (task, made, changes), their in zip(mutated, theirs, strict=True):
        results, score = asyncio.run(run(task, made))
        assert score["acc"] == their["valid"], (task["id"], changes)
        accepted += score["acc"]
        if task["held_out"]:  # the policy is refused what BFCL's executor runs, so results and reward may differ
            continue
        assert (score["score"] == 1) >= (score["acc"] and not score["calls_surplus"]), (task["id"], changes)
        # A tool that is not there is the agent loop's to answer. One error lists a set, whose order is another one in
        # every process.
        pairs = [pair for pair in zip(results, their["results"], strict=True) if pair[0] is not None]
        assert all(sorted(ours) == sorted(other) for ours, other in pairs), (task["id"], changes)
    assert 0.2 < accepted / MUTATED < 0.8  # else the trajectories would say little about the checkers
