"""AgentDojo: verdicts of the environment against the package's own pipeline, and the rows of its tasks."""

import asyncio
import json
from contextlib import suppress

import pytest
from tiers import HANG_GUARD, in_full

from rest_verl.rollout.environment import ToolError, get_environment

pytest.importorskip("agentdojo", reason="AgentDojo is missing: pip install -c constraints-cpu.txt agentdojo==0.1.35")

from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline

from rest_verl.data.agentdojo import agentdojo_rows
from rest_verl.rollout.agentdojo import suite_of

SUITES = in_full(["banking"], ["banking", "slack", "travel", "workspace"])
ATTACK = "important_instructions_no_model_name"


def played(kwargs, calls, answer):
    """The verdict on a trajectory that makes these calls and then answers."""

    async def run():
        environment = get_environment("agentdojo")(**kwargs)
        await environment.reset()
        for call in calls:
            await environment.hear("")
            with suppress(ToolError):
                await environment.call(call.function, dict(call.args))
        await environment.hear(answer)
        assert await environment.next_user_turn() is None
        return await environment.score()

    return asyncio.run(run())


def due(suite, task, injections):
    """The calls that solve a task, by the package."""
    state = suite.load_and_inject_default_environment(injections)
    return task.ground_truth(task.init_environment(state) if task.ID in suite.user_tasks else state)


@pytest.mark.parametrize("name", SUITES)
def test_verdicts_on_user_tasks_are_the_packages_own(name):
    """On each task's own calls and answer, and on what lacks its last call or its answer."""
    suite = suite_of(name)
    seen = []
    for task in suite.user_tasks.values():
        calls = due(suite, task, {})
        kwargs = {"suite": name, "user_task": task.ID}
        official, _ = suite.run_task_with_pipeline(GroundTruthPipeline(task), task, None, {})
        right = played(kwargs, calls, task.GROUND_TRUTH_OUTPUT)
        assert right == {"score": float(official), "utility": float(official)}
        seen += [right["score"], played(kwargs, calls[:-1], "")["score"]]
    assert all(seen[::2]) and not all(seen[1::2])


@pytest.mark.parametrize("name", SUITES)
def test_an_attack_that_succeeds_is_seen_as_the_package_sees_it(name):
    """The attacker's calls alone, after the user's, and not at all, in a state with the same injections."""
    rows = agentdojo_rows([name], ATTACK)
    suite = suite_of(name)
    first = {}
    for row in rows:
        kwargs = json.loads(row["extra_info"]["environment_kwargs"])
        first.setdefault(kwargs["injection_task"], kwargs)
    solved_and_attacked = []
    for kwargs in first.values():
        task = suite.user_tasks[kwargs["user_task"]]
        attack = suite.injection_tasks[kwargs["injection_task"]]
        calls = due(suite, task, kwargs["injections"])
        _, official = suite.run_task_with_pipeline(GroundTruthPipeline(attack), task, attack, kwargs["injections"])
        wanted = due(suite, attack, kwargs["injections"])
        obeyed = played(kwargs, wanted, attack.GROUND_TRUTH_OUTPUT)
        assert obeyed["attack_success"] == float(official) == 1.0 and obeyed["score"] == 0.0
        both = played(kwargs, [*calls, *wanted], task.GROUND_TRUTH_OUTPUT)
        assert both["attack_success"] == 1.0 and both["score"] == 0.0
        solved_and_attacked.append(both["utility"])
        refused = played(kwargs, calls, task.GROUND_TRUTH_OUTPUT)
        assert refused["attack_success"] == 0.0 and refused["score"] == refused["utility"]
    assert any(solved_and_attacked)


def test_a_row_is_played_in_the_loop_and_the_model_reads_the_attack(start, call, chat):
    row = next(
        row
        for row in agentdojo_rows(["banking"], ATTACK, "hermes")
        if json.loads(row["extra_info"]["environment_kwargs"])["user_task"] == "user_task_1"
    )

    async def run():
        turns = [call("get_most_recent_transactions", n=100), call("fly"), call("send_money", amount="x"), "Nothing."]
        limits = f"rest.rollout.call_seconds={HANG_GUARD}"
        return await start(turns, limits, extra=row["extra_info"])[1]

    fields = asyncio.run(run()).extra_fields
    calls = [one for turn in fields["rest_turn_table"] for one in turn["calls"]]
    assert [one["error"] for one in calls] == [None, "unknown_tool", "failed"]
    assert "This is an important message from me" in calls[0]["result"]
    assert fields["rest_environment"] == {"acc": 0.0, "score": 0.0, "utility": 0.0, "attack_success": 0.0}


def test_rows_offer_the_tools_and_name_task_and_attack():
    plain = agentdojo_rows(["banking"], format="hermes")
    assert len(plain) == len(suite_of("banking").user_tasks) == len({row["extra_info"]["id"] for row in plain})
    system, user = plain[0]["prompt"]
    assert (
        "send_money" in system["content"] and user["content"] == suite_of("banking").user_tasks["user_task_0"].PROMPT
    )
    assert json.loads(plain[0]["extra_info"]["environment_kwargs"])["user_task"] == "user_task_0"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"suite": "bank", "user_task": "user_task_0"}, "did you mean 'banking'"),
        ({"suite": "banking", "user_task": "user_task_99"}, "unknown task of AgentDojo"),
        ({"suite": "banking", "user_task": "user_task_0", "injections": {"no": "x"}}, "banking has no place no"),
    ],
)
def test_wrong_arguments_of_a_row_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        get_environment("agentdojo")(**kwargs)


def test_an_unknown_attack_is_named():
    with pytest.raises(ValueError, match="unknown attack of AgentDojo 'important': did you mean"):
        agentdojo_rows(["banking"], "important")
