"""Environments and tools that misbehave: each costs its own call or trajectory, and nothing outlives it."""

import asyncio
import json
import math

import pytest
from transformers.utils import get_json_schema
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema

from rest_verl.rollout import environment as environments
from rest_verl.rollout.environment import Opening
from rest_verl.rollout.environment_results import EnvironmentProtocolError
from rest_verl.rollout.waiting import UserCodeError, wait_at_most


class Odd(BaseException):
    """What no handler of Exceptions catches."""


ESCAPES = [SystemExit(2), KeyboardInterrupt(), GeneratorExit(), Odd("odd")]


@pytest.fixture
def desk():
    """The class of the environment `desk`, for tests to break."""
    return environments.get_environment("desk")


def breaking(monkeypatch, desk, method, error):
    async def broken(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(desk, method, broken)


def side_by_side(start, turns, **options):
    """What a trajectory on a broken desk gives next to a sound one, which begins after it."""

    async def both():
        _, broken = start(turns, desk={"says": ["more"]}, **options)
        _, sound = start(["fine"], desk=None)
        return await asyncio.gather(broken, sound, return_exceptions=True)

    return asyncio.run(both())


@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["reset", "next_user_turn", "score"])
def test_user_code_that_exits_fails_its_trajectory_alone(start, monkeypatch, desk, method, error):
    breaking(monkeypatch, desk, method, error)
    broken, sound = side_by_side(start, ["done", "bye"])
    assert isinstance(broken, UserCodeError) and type(error).__name__ in str(broken)
    assert sound.response_ids and desk.made[0].log[-1] == "close"


@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
def test_an_environment_that_exits_in_close_keeps_its_trajectory(start, monkeypatch, desk, error, caplog):
    breaking(monkeypatch, desk, "close", error)
    kept, sound = side_by_side(start, ["done", "bye"])
    assert kept.extra_fields["rest_environment"]["score"] == 1.0 and sound.response_ids
    assert "failed to close" in caplog.text


@pytest.mark.parametrize("error", [*ESCAPES, asyncio.CancelledError()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("parallel", [False, True])
def test_a_tool_that_exits_fails_its_call_alone(play, call, monkeypatch, desk, error, parallel):
    breaking(monkeypatch, desk, "tool_exit", error)
    played = play([call("exit") + call("say", text="hi"), "done"], desk={"parallel": parallel})
    assert [one["error"] for one in played.calls] == ["exception", None]
    assert type(error).__name__ in played.calls[0]["result"] and played.calls[1]["result"] == "hi"
    assert played.ended_by == ["ended_by/done"]


@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("blocking", [True, False])
def test_a_function_tool_of_verl_that_exits_fails_its_call_alone(play, call, error, blocking):
    def leave() -> str:
        """Leave."""
        raise error

    async def leave_later() -> str:
        """Leave."""
        raise error

    def add(a: int) -> str:
        """Add one.

        Args:
            a: a number.
        """
        return str(a + 1)

    tools = [
        FunctionTool(name, fn, OpenAIFunctionToolSchema.model_validate(get_json_schema(fn)), is_async)
        for name, fn, is_async in (("leave", leave if blocking else leave_later, not blocking), ("add", add, False))
    ]
    played = play([call("leave") + call("add", a=1), "done"], desk=None, tools=tools)
    assert [one["error"] for one in played.calls] == ["exception", None]
    assert type(error).__name__ in played.calls[0]["result"] and played.calls[1]["result"] == "2"


def test_no_call_of_a_turn_outlives_a_failure_of_its_sibling(start, call, monkeypatch, desk):
    """An error of the loop itself in one call: the others end before the environment is closed."""

    async def run():
        _, running = start([call("say", text="x") + call("wait", seconds=0.05)], desk={"parallel": True})
        with pytest.raises(RuntimeError, match="cannot be noted"):
            await running
        log = list(desk.made[0].log)
        await asyncio.sleep(0.1)
        return log

    from rest_verl.rollout.agent_loop import RestToolAgentLoop

    note = RestToolAgentLoop._note_result

    def broken(self, one, result):
        if result == "x":
            raise RuntimeError("cannot be noted")
        note(self, one, result)

    monkeypatch.setattr(RestToolAgentLoop, "_note_result", broken)
    log = asyncio.run(run())
    assert log.index("waited 0.05") < log.index("close") == len(log) - 1
    assert desk.made[0].log == log


@pytest.mark.parametrize("parallel", [False, True])
def test_a_cancelled_trajectory_is_cancelled(start, call, desk, parallel):
    async def run():
        _, running = start([call("wait", seconds=60) + call("wait", seconds=61)], desk={"parallel": parallel})
        task = asyncio.ensure_future(running)
        while not desk.made or "call wait" not in desk.made[0].log:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]

    assert asyncio.run(run()) == []
    assert desk.made[0].log[-1] == "close"


@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
def test_a_wait_contains_what_would_end_the_event_loop(error):
    async def fail():
        raise error

    async def run():
        with pytest.raises(UserCodeError, match=type(error).__name__):
            await wait_at_most(5, fail())
        return "still running"

    assert asyncio.run(run()) == "still running"


# What an environment returns


@pytest.mark.parametrize(
    "points",
    [
        None,
        [1.0],
        1.0,
        "1",
        {},
        {"score": 2.0},
        {"score": None},
        {"score": "1"},
        {"score": 1.0, "acc": math.nan},
        {"score": 1.0, "turns": math.inf},
        {"score": math.nan},
        {1: 1.0, "score": 1.0},
    ],
    ids=repr,
)
def test_a_score_that_is_none_names_itself(start, monkeypatch, desk, points):
    async def score(self):
        return points

    monkeypatch.setattr(desk, "score", score)
    broken, sound = side_by_side(start, ["done", "bye"])
    assert isinstance(broken, EnvironmentProtocolError) and "\n" not in str(broken)
    assert str(broken).startswith(f"Desk.score() returned {points!r}: return a dict of finite numbers")
    assert sound.response_ids


@pytest.mark.parametrize(
    "key", ["format", "skipped", "score_min", "legal", "share", "rollout/calls", "response_tokens"]
)
def test_a_number_of_an_environment_replaces_no_component(play, key):
    from rest_verl.config.reward import RewardConfig
    from rest_verl.formats import get_format
    from rest_verl.reward.scorers import score_environment
    from rest_verl.reward.tool_reward import RewardAtStep, ToolReward

    judged = play(["done"], desk={"points": {"score": 0.5, key: 77.0}}).fields["rest_environment"]
    reward = ToolReward(RewardConfig())
    response = reward.read([b"done"], get_format("hermes"))
    found = score_environment(response, judged, RewardAtStep(reward, 1))
    expected = score_environment(response, {"score": 0.5, "acc": 0.0}, RewardAtStep(reward, 1))
    assert found == expected | {f"environment/{key}": 77.0}


@pytest.mark.parametrize(
    ("method", "returned"),
    [
        ("reset", None),
        ("reset", {"messages": []}),
        ("reset", Opening("hello")),
        ("reset", Opening([None])),
        ("reset", Opening([{"role": "user"}, {"content": "x"}])),
        ("reset", Opening([], None)),
        ("reset", Opening([], ["tool"])),
        ("next_user_turn", "more"),
        ("next_user_turn", {"role": "user", "content": "x"}),
        ("next_user_turn", [None]),
        ("next_user_turn", [{"role": "user", "content": 7}]),
        ("next_user_turn", 0),
    ],
    ids=repr,
)
def test_what_is_no_opening_or_message_names_itself(start, monkeypatch, desk, method, returned):
    async def answer(self):
        return returned

    monkeypatch.setattr(desk, method, answer)
    broken, sound = side_by_side(start, ["done", "bye"])
    assert isinstance(broken, EnvironmentProtocolError) and str(broken).startswith(f"Desk.{method}() returned ")
    assert sound.response_ids and desk.made[0].log[-1] == "close"


@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
def test_an_environment_that_exits_when_made_fails_alone(start, monkeypatch, desk, error):
    def fail(self):
        raise error

    monkeypatch.setattr(desk, "__post_init__", fail)
    broken, sound = side_by_side(start, ["done", "bye"])
    assert isinstance(broken, UserCodeError) and sound.response_ids


# What a trajectory carries


@pytest.mark.parametrize("per_turn", ["false", "true"])
def test_the_turn_table_travels_only_to_records(start, call, per_turn):
    turns = [call("say", text="hi"), "done"]

    async def run(*overrides):
        _, running = start(turns, f"rest.rollout.per_turn={per_turn}", *overrides, desk={})
        found = await running
        return (found[-1] if isinstance(found, list) else found).extra_fields

    assert len(asyncio.run(run())["rest_turn_table"]) == 2
    without = asyncio.run(run("rest.dump_dir=null"))
    assert "rest_turn_table" not in without and without["rest_rollout"]["calls"] == 1
    assert "hi" not in json.dumps(without, default=str)
