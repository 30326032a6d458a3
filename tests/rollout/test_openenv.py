"""The environment `openenv`: a real server of OpenEnv's own package, and policies that do what they are told."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from desk import bare, side_by_side_and_alone
from tiers import HANG_GUARD, in_full

from rest_verl.rollout.environment import Earned, ToolError, get_environment

pytest.importorskip("openenv", reason="OpenEnv is missing: pip install -c constraints-cpu.txt openenv==0.2.1")

ROOT = Path(__file__).parents[2]
TOGETHER = in_full(16, 64)

# A desk of notes, whose tools are MCP's, and the echo of OpenEnv's own template at /echo.
PROGRAM = """
import asyncio, importlib, os, pathlib, socket, sys
import openenv.cli.templates, uvicorn
from fastmcp import FastMCP
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation, ListToolsAction
from openenv.core.env_server.types import Observation, State


class Action(CallToolAction):
    @classmethod
    def model_validate(cls, action):  # as servers after 0.2.1 read actions by themselves
        return (ListToolsAction if action.get("type") == "list_tools" else CallToolAction).model_validate(action)


class Desk(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        server, notes = FastMCP("desk"), {}
        self.notes = notes

        @server.tool
        def write(key: str, text: str) -> str:
            "Write a note."
            notes[key] = text
            return "written"

        @server.tool
        def read(key: str) -> str:
            return notes[key]

        @server.tool
        def flood(length: int) -> str:
            return "x" * length

        @server.tool
        def die() -> str:
            os._exit(3)

        @server.tool
        async def hang() -> str:
            await asyncio.sleep(3600)

        super().__init__(server)

    def reset(self, seed=None, episode_id=None, task="", **kwargs):
        self.notes["task"] = task
        return Observation()

    def step(self, action, timeout_s=None, **kwargs):
        seen = super().step(action, timeout_s, **kwargs)
        if isinstance(action, CallToolAction) and action.tool_name == "write":
            seen.reward = 0.25
        return seen

    def _step_impl(self, action, timeout_s=None, **kwargs):
        raise ValueError("tools alone")

    @property
    def state(self):
        return State()


folder, sessions = pathlib.Path(sys.argv[1]), int(sys.argv[2])
template = pathlib.Path(openenv.cli.templates.__path__[0], "openenv_env")
for path in (template / "models.py", template / "server" / "__ENV_NAME___environment.py"):  # its client is broken
    text = path.read_text()
    for name, value in {"NAME": "echo", "CLASS_NAME": "Echo", "TITLE_NAME": "Echo"}.items():
        text = text.replace(f"__ENV_{name}__", value)
    (folder / path.name.replace("__ENV_NAME__", "echo")).write_text(text)
sys.path.insert(0, str(folder))
echo, models = (importlib.import_module(name) for name in ("echo_environment", "models"))
app = create_app(Desk, Action, CallToolObservation, max_concurrent_envs=sessions)
app.mount("/echo", create_app(echo.EchoEnvironment, models.EchoAction, models.EchoObservation))
with socket.socket() as listening:
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
"""


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Function from a number of sessions to the address of a server of its own."""
    running = []

    def start(sessions):
        folder = tmp_path_factory.mktemp("openenv")
        (folder / "program.py").write_text(PROGRAM)
        command = [sys.executable, str(folder / "program.py"), str(folder), str(sessions)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(server)
        return f"http://127.0.0.1:{int(server.stdout.readline())}"

    yield start
    for server in running:
        server.kill()
        server.communicate()


@pytest.fixture(scope="module")
def desk(serve):
    """The address of a server with a session for each of many trajectories."""
    return serve(TOGETHER)


def acting_on(url, **kwargs):
    """Fields of a row that acts on a server; it has minutes, for a busy machine."""
    patient = {"url": url, "start_seconds": HANG_GUARD}
    return {"environment": "openenv", "environment_kwargs": json.dumps(patient | kwargs)}


def calls_of(output):
    return [call for turn in output.extra_fields["rest_turn_table"] for call in turn["calls"]]


def alone(work, url, **kwargs):
    """What a function of an environment gives, between its reset and its end."""

    async def run():
        environment = get_environment("openenv")(url=url, start_seconds=HANG_GUARD, **kwargs)
        opening = await environment.reset()
        try:
            return await work(environment, opening)
        finally:
            await environment.close()

    return asyncio.run(run())


def story(call, number):
    """What trajectory `number` does: it reads its task, writes what is its own and reads it again."""
    return [
        call("read", key="task") + call("write", key="a", text=f"note of {number}") + call("read", key="a"),
        call("fly") if number % 3 else call("read", key="none"),
        "done",
    ]


UNHURRIED = f"rest.rollout.call_seconds={HANG_GUARD}"


def test_many_sessions_are_those_run_one_by_one(start, call, desk):
    def begin(number, wait=None):
        extra = acting_on(desk, reset={"task": f"task {number}"})
        return start(story(call, number), UNHURRIED, wait=wait, prompt=f"Begin {number}.", extra=extra)[1]

    side_by_side, by_itself = side_by_side_and_alone(begin, TOGETHER)
    assert [bare(output) for output in side_by_side] == [bare(output) for output in by_itself]
    for number, output in enumerate(by_itself):
        results = [call["result"] for call in calls_of(output)]
        assert results[:3] == [f"task {number}", "written", f"note of {number}"]
        assert calls_of(output)[3]["error"] == ("unknown_tool" if number % 3 else "failed")
        assert output.extra_fields["rest_environment"] == {
            "acc": 0.0, "score": 0.25, "reward": 0.25, "steps": 3.0 + (number % 3 == 0), "done": 0.0,
        }  # fmt: skip


def test_the_reward_of_a_call_is_decided_where_it_is_called(start, call, desk):
    async def run(**kwargs):
        turns = [call("write", key="a", text="b"), call("read", key="a"), call("write", key="c", text="d"), "done"]
        return await start(turns, UNHURRIED, extra=acting_on(desk, **kwargs))[1]

    doubled = asyncio.run(run(reward_range=[-0.5, 1.5])).extra_fields
    ends = [end for _, end in doubled["rest_turns"]]
    generated = [sum(end - begin for begin, end in doubled["rest_turns"][: turn + 1]) for turn in range(len(ends))]
    assert doubled["rest_decided"] == [[generated[0] - 1, 0.125], [generated[2] - 1, 0.125]]
    assert doubled["rest_environment"]["score"] == 0.5
    assert asyncio.run(run(score="last")).extra_fields["rest_decided"] == []


def test_the_model_is_offered_the_tools_of_the_row_alone(start, call, chat, desk):
    async def run():
        turns = [call("read", key="task"), call("write", key="a", text="b"), "done"]
        return await start(turns, UNHURRIED, extra=acting_on(desk, tools=["read"]))[1]

    output = asyncio.run(run())
    assert [one["name"] for one in json.loads(output.extra_fields["rest_tools"])] == ["read"]
    assert '"name": "read"' in chat.decode(output.prompt_ids)
    assert [one["error"] for one in calls_of(output)] == [None, "unknown_tool"]


def test_a_server_that_hangs_or_dies_costs_its_own_trajectory(start, call, serve, desk):
    """What the policy has done to a server that died is unknown, so its trajectory fails; one that it made hang is
    scored, and its session is over."""
    mortal = serve(2)

    async def run():
        turns = [call("hang"), call("read", key="a"), "done"]
        hung = await start(turns, "rest.rollout.call_seconds=1", extra=acting_on(mortal))[1]
        dead = start([call("die"), call("read", key="a"), "done"], UNHURRIED, extra=acting_on(mortal))[1]
        sound = start(story(call, 3), UNHURRIED, extra=acting_on(desk, reset={"task": "t"}))[1]
        return hung, *await asyncio.gather(dead, sound, return_exceptions=True)

    hung, dead, sound = asyncio.run(run())
    assert [one["error"] for one in calls_of(hung)] == ["timeout", "exception"]
    assert calls_of(hung)[1]["result"].endswith("this session was given up after a call that took too long")
    assert "the server ended this session" in str(dead)
    assert calls_of(sound)[2]["result"] == "note of 3"


def test_a_long_result_is_cut(start, call, desk):
    async def run():
        limits = [UNHURRIED, "rest.rollout.max_result_length=1000"]
        return await start([call("flood", length=100_000), "done"], *limits, extra=acting_on(desk))[1]

    (flood,) = calls_of(asyncio.run(run()))
    assert flood["result"].startswith("x" * 1000 + "\n[cut here") and flood["truncated"]


def test_trajectories_wait_for_a_session_of_a_full_server(serve):
    """Without time to wait, the message says what to raise."""
    url = serve(1)

    async def run():
        environments = [get_environment("openenv")(url=url, start_seconds=HANG_GUARD) for _ in range(3)]

        async def use(environment):
            await environment.reset()
            await environment.call("read", {"key": "task"})
            await environment.close()

        await asyncio.gather(*map(use, environments))
        holding, impatient = (get_environment("openenv")(url=url, start_seconds=one) for one in (HANG_GUARD, 0.01))
        await holding.reset()
        try:
            with pytest.raises(RuntimeError, match="raise its max_concurrent_envs"):
                await impatient.reset()
        finally:
            await holding.close()

    asyncio.run(run())


def test_answers_are_actions_and_observations_the_users_messages(start, chat, desk):
    """OpenEnv's template echoes, for a reward of 0.1 a character."""
    settings = {"action": "answer", "shown": "echoed_message", "reward_range": [0, 2], "opens": True}

    async def run():
        extra = acting_on(f"{desk}/echo", **settings)
        return await start(["Hello", "Bye", "unused"], "rest.rollout.max_user_turns=2", extra=extra)[1]

    output = asyncio.run(run())
    assert "Echo environment ready!" in chat.decode(output.prompt_ids)
    assert chat.decode(output.response_ids).count("Hello") == 2
    assert output.extra_fields["rest_environment"]["score"] == pytest.approx((0.5 + 0.3) / 2)
    assert output.extra_fields["rest_turn_scores"] == pytest.approx([0.25, 0.15])


def test_an_action_without_tools_is_a_tool_with_its_schema(desk):
    async def work(environment, opening):
        (tool,) = opening.tools
        with pytest.raises(ToolError, match="message"):
            await environment.call("step", {"massage": "Hello"})
        return tool["function"], await environment.call("step", {"message": "Hello"})

    function, result = alone(work, f"{desk}/echo", action="step", shown="echoed_message")
    assert function["name"] == "step" and set(function["parameters"]["properties"]) == {"message"}
    assert result == Earned("Hello", 0.5)


def test_a_server_that_is_not_there_is_named():
    environment = get_environment("openenv")(url="http://127.0.0.1:9", start_seconds=1)
    with pytest.raises(RuntimeError, match=r"OpenEnv server http://127\.0\.0\.1:9: ConnectionError: .* start it"):
        asyncio.run(environment.reset())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "url Field required"),
        ({"url": "x", "ulr": "y"}, "ulr Unexpected keyword argument"),
        ({"url": "x", "action": "talk"}, "action Input should be 'tools', 'step' or 'answer'"),
        ({"url": "x", "action": "step", "tools": ["a"]}, "tools belongs to action 'tools'"),
        ({"url": "x", "reward_range": [1, 1]}, "its first number must be below its second"),
    ],
)
def test_wrong_arguments_of_a_row_are_named(settings, message):
    with pytest.raises(ValueError) as raised:
        get_environment("openenv")(**settings)
    assert str(raised.value).startswith("arguments of the environment openenv: ") and message in str(raised.value)


def test_the_arguments_that_the_docs_show_are_taken():
    shown = re.findall(r"```json\n(.*?)```", (ROOT / "docs/rollout.md").read_text(), re.DOTALL)
    (settings,) = [json.loads(one) for one in shown if '"url": "http://localhost:8000"' in one]
    get_environment("openenv")(**settings)
