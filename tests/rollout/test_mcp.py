"""The environment `mcp`: real servers over stdio and streamable HTTP, and policies that do what they are told."""

import asyncio
import json
import math
import re
import socket
import sys
import threading
import time
from pathlib import Path

import mcp.client.stdio
import psutil
import pytest
import uvicorn
from desk import bare, side_by_side_and_alone
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from tiers import HANG_GUARD, in_full

from rest_verl.rollout.calls import json_arguments
from rest_verl.rollout.environment import ToolError, get_environment
from rest_verl.rollout.mcp.environment import read_score, text_of_result
from rest_verl.rollout.mcp.servers import read_settings
from rest_verl.rollout.mcp.session import McpServerError
from rest_verl.rollout.waiting import wait_at_most

ROOT = Path(__file__).parents[2]
TOGETHER = in_full(64, 512)

PROGRAM = """
import asyncio, json, os, pathlib, sys
from mcp.server.mcpserver import MCPServer

server, notes = MCPServer("desk"), {}
pathlib.Path(sys.argv[1], str(os.getpid())).touch()

@server.tool()
def write(key: str, text: str) -> str:
    "Write a note."
    notes[key] = text
    return "written"

@server.tool()
def read(key: str) -> str:
    return notes[key]

@server.tool()
async def hang() -> str:
    await asyncio.sleep(3600)
    return "late"

@server.tool(structured_output=False)
def flood(length: int) -> str:
    return "x" * length

@server.tool()
def die() -> str:
    os._exit(3)

@server.tool()
def environ() -> str:
    return json.dumps(dict(os.environ))

server.run("stdio")
"""


@pytest.fixture
def desk(tmp_path):
    """A server over stdio, as rows name it; each program leaves a file with its id."""
    (tmp_path / "pids").mkdir()
    program = tmp_path / "desk.py"
    program.write_text(PROGRAM)
    return {"command": sys.executable, "args": [str(program), str(tmp_path / "pids")]}


def programs(server):
    """Ids of the programs that were started, and of those that still run."""
    started = [int(path.name) for path in Path(server["args"][1]).iterdir()]
    return started, [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.fixture(scope="module")
def notes():
    """A server over HTTP with notes of each session, a hidden verdict on them, and its sessions that are open."""
    server = MCPServer("notes")
    kept = {}

    def own(context):
        return kept.setdefault(context.headers["mcp-session-id"], {})

    @server.tool()
    def write(key: str, text: str, context: Context) -> str:
        """Write a note."""
        own(context)[key] = text
        return "written"

    @server.tool()
    def read(key: str, context: Context) -> str:
        """Read a note."""
        return own(context)[key]

    @server.tool()
    def begin(task: str, context: Context) -> str:
        """Write the note `task`."""
        own(context)["task"] = task
        return "ready"

    @server.tool()
    def grade(context: Context) -> dict[str, float]:
        """The share of two notes that are written."""
        return {"score": len(own(context)) / 2, "notes": len(own(context))}

    @server.tool()
    async def hang() -> str:
        """Hang."""
        await asyncio.sleep(HANG_GUARD)
        return "late"

    app = server.streamable_http_app()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        while not running.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield {"url": f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"}, server.session_manager._server_instances
        running.should_exit = True
        thread.join()


def with_servers(server, **kwargs):
    """Fields of a row that acts on one server."""
    return {"environment": "mcp", "environment_kwargs": json.dumps({"servers": {"desk": server}} | kwargs)}


def calls_of(output):
    return [call for turn in output.extra_fields["rest_turn_table"] for call in turn["calls"]]


def story(call, number):
    """What trajectory `number` does: it writes what is its own and reads it again."""
    return [
        call("write", key="a", text=f"note of {number}") + call("read", key="a"),
        call("fly") if number % 3 else call("read", key="a"),
        "done",
    ]


def test_many_sessions_over_http_are_those_run_one_by_one(start, call, notes):
    server, sessions = notes

    def begin(number, wait=None):
        return start(story(call, number), wait=wait, prompt=f"Begin {number}.", extra=with_servers(server))[1]

    side_by_side, alone = side_by_side_and_alone(begin, TOGETHER)
    assert [bare(output) for output in side_by_side] == [bare(output) for output in alone]
    for number, output in enumerate(alone):
        last = (None, "unknown_tool")[bool(number % 3)]
        assert [call["error"] for call in calls_of(output)] == [None, None, last]
        assert calls_of(output)[1]["result"] == f"note of {number}"
    assert not sessions


def test_sessions_over_stdio_have_a_program_each_and_leave_none(start, call, desk):
    async def run():
        return await asyncio.gather(*(start(story(call, number), extra=with_servers(desk))[1] for number in (0, 3, 6)))

    outputs = asyncio.run(run())
    read = [[call["result"] for call in calls_of(output)] for output in outputs]
    assert read == [["written", f"note of {number}", f"note of {number}"] for number in (0, 3, 6)]
    started, left = programs(desk)
    assert len(started) == 3 and not left


def test_a_server_that_floods_and_dies_costs_its_own_trajectory(start, call, desk, notes):
    turns = [call("flood", length=10_000_000), call("die"), call("read", key="a"), "done"]

    async def run():
        limits = [f"rest.rollout.call_seconds={HANG_GUARD}", "rest.rollout.max_result_length=1000"]
        broken = start(turns, *limits, extra=with_servers(desk))[1]
        return await asyncio.gather(broken, start(story(call, 3), extra=with_servers(notes[0]))[1])

    output, sound = asyncio.run(run())
    flood, *dead = calls_of(output)
    assert flood["result"] == "x" * 1000 + "\n[cut here: the first 1,000 of 10,000,000 characters]"
    ended = "Error: McpServerError: the server 'desk' of this tool has ended"
    assert [(one["error"], one["result"]) for one in dead] == [("exception", ended)] * 2
    assert output.extra_fields["rest_rollout"]["ended_by/done"] == 1.0
    assert [one["error"] for one in calls_of(sound)] == [None, None, None]
    assert programs(desk)[1] == []


def test_a_call_that_hangs_times_out_and_the_next_is_answered(start, call, notes):
    """The next one has no limit here, so that a busy machine cannot fail it."""
    turns = [call("hang"), "done"]

    async def alone():
        environment = get_environment("mcp")(servers={"desk": notes[0]})
        await environment.reset()
        with pytest.raises(TimeoutError):
            await wait_at_most(0.2, environment.call("hang", {}))
        result = await environment.call("write", {"key": "a", "text": "b"})
        await environment.close()
        return result

    async def run():
        return await start(turns, "rest.rollout.call_seconds=0.5", extra=with_servers(notes[0]))[1]

    (hang,) = calls_of(asyncio.run(run()))
    assert (hang["error"], hang["result"]) == ("timeout", "Error: the call was stopped after 0.5 s")
    assert asyncio.run(alone()) == "written"


def test_a_cancelled_trajectory_leaves_no_program(start, call, desk):
    """Whether it waits for the server to start or for a call, and even if the time for closing is over."""

    async def run():
        for limit in ("rest.rollout.call_seconds=60", "rest.rollout.call_seconds=0.001"):
            task = asyncio.create_task(start([call("hang"), "done"], limit, extra=with_servers(desk))[1])
            while len(programs(desk)[0]) < 1 + ("0.001" in limit):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        while programs(desk)[1]:  # closing goes on after its time is over
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_program_that_ignores_its_end_is_killed_with_children(tmp_path, monkeypatch):
    monkeypatch.setattr(mcp.client.stdio, "PROCESS_TERMINATION_TIMEOUT", 0.05)
    monkeypatch.setattr(mcp.client.stdio, "FORCE_KILL_TIMEOUT", 0.05)
    pid = tmp_path / "pid"
    script = f"trap '' TERM; sleep 3600 & echo $! > {pid}; while true; do sleep 3600; done"

    async def run():
        environment = get_environment("mcp")(
            servers={"stubborn": {"command": "sh", "args": ["-c", script]}}, start_seconds=0.3
        )
        with pytest.raises(McpServerError, match=r"TimeoutError: no list of tools within 0\.3 s"):
            await environment.reset()
        await environment.close()

    asyncio.run(run())
    left = psutil.Process(int(pid.read_text())) if psutil.pid_exists(int(pid.read_text())) else None
    while left is not None and left.is_running() and left.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)  # the kernel ends it when it is next scheduled


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"command": "/no/such"}, "'desk' (/no/such) cannot be started: FileNotFoundError: [Errno 2] No such file"),
        (
            {"command": sys.executable, "args": ["-c", "raise SystemExit('give me a key')"]},
            "MCPError: Connection closed. It wrote: give me a key. To find out more, run",
        ),
        ({"url": "http://127.0.0.1:9/mcp"}, "(http://127.0.0.1:9/mcp) cannot be reached: ConnectError"),
        ({"url": "http://127.0.0.1:9/mcp"}, "start it, or correct servers.desk.url"),
    ],
)
def test_a_server_that_cannot_start_says_what_to_do(server, message):
    async def run():
        environment = get_environment("mcp")(servers={"desk": server})
        try:
            await environment.reset()
        finally:
            await environment.close()

    with pytest.raises(McpServerError) as raised:
        asyncio.run(run())
    assert message in str(raised.value)


def test_the_model_is_offered_and_can_call_allowed_tools_alone(start, call, chat, notes):
    """Tools of setup and score are the environment's own, whatever `tools` says."""
    judged = {"setup": {"tool": "begin", "arguments": {"task": "x"}}, "score": {"tool": "grade"}}
    turns = [
        call("read", key="task"),
        call("write", key="b", text="c"),
        call("grade"),
        call("begin", task="y"),
        "done",
    ]

    async def run(**kwargs):
        return await start(turns, extra=with_servers(notes[0], **judged, **kwargs))[1]

    every, some = asyncio.run(run()), asyncio.run(run(tools=["read"]))
    for output, offered in ((every, {"write", "read", "hang"}), (some, {"read"})):
        assert {one["name"] for one in json.loads(output.extra_fields["rest_tools"])} == offered
        assert '"name": "read"' in chat.decode(output.prompt_ids)
        assert '"name": "grade"' not in chat.decode(output.prompt_ids)
    unknown = "unknown_tool"
    assert [one["error"] for one in calls_of(every)] == [None, None, unknown, unknown]
    assert [one["error"] for one in calls_of(some)] == [None, unknown, unknown, unknown]
    assert every.extra_fields["rest_environment"] == {"acc": 1.0, "score": 1.0, "notes": 2.0}
    assert some.extra_fields["rest_environment"] == {"acc": 0.0, "score": 0.5, "notes": 1.0}


def test_without_score_the_scorer_of_the_row_decides(start, notes):
    async def run():
        return await start(["done"], extra=with_servers(notes[0]))[1]

    assert "rest_environment" not in asyncio.run(run()).extra_fields


def test_a_program_gets_the_variables_of_its_server_alone(desk, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setenv("DESK_KEY", "k")
    server = desk | {"env": {"KEY": "${DESK_KEY}", "PLACE": "${DESK_PLACE:-here}"}}

    async def run():
        environment = get_environment("mcp")(servers={"desk": server})
        await environment.reset()
        text = await environment.call("environ", {})
        await environment.close()
        return json.loads(text)

    given = asyncio.run(run())
    assert (given["KEY"], given["PLACE"]) == ("k", "here")
    assert "WANDB_API_KEY" not in given and "DESK_KEY" not in given


def test_a_variable_that_is_not_set_is_named_before_anything_starts(desk):
    environment = get_environment("mcp")(servers={"desk": desk | {"env": {"KEY": "${DESK_KEY_MISSING}"}}})
    with pytest.raises(ValueError, match="DESK_KEY_MISSING is not set where the agent loop runs"):
        asyncio.run(environment.reset())
    assert programs(desk)[0] == []


def test_servers_of_a_run_stand_in_one_file(tmp_path, notes):
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"notes": notes[0] | {"type": "http"}}}))

    async def names(**kwargs):
        environment = get_environment("mcp")(servers=str(path), **kwargs)
        try:
            return [tool["function"]["name"] for tool in (await environment.reset()).tools]
        finally:
            await environment.close()

    assert asyncio.run(names(tools=["read"])) == ["read"]
    with pytest.raises(ValueError, match="unknown tool of the MCP servers notes 'raed': did you mean 'read'"):
        asyncio.run(names(tools=["raed"]))
    path.write_text("{}")
    with pytest.raises(ValueError, match="cannot be read as a JSON object with mcpServers"):
        asyncio.run(names())


def test_two_servers_cannot_have_tools_of_one_name(notes):
    async def run():
        environment = get_environment("mcp")(servers={"one": notes[0], "two": notes[0]})
        try:
            await environment.reset()
        finally:
            await environment.close()

    with pytest.raises(ValueError, match="two servers have a tool 'write'"):
        asyncio.run(run())
    assert not notes[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "servers Field required"),
        ({"servers": {}}, "servers is empty"),
        ({"servers": {"a": {}}}, "servers.a needs either command, a program to start, or url"),
        ({"servers": {"a": {"comand": "x"}}}, "servers.a.comand Unexpected keyword argument"),
        ({"servers": {"a": {"command": "x", "headers": {"a": "b"}}}}, "headers belong to a url"),
        ({"servers": {"a": {"url": "x", "type": "stdio"}}}, "type='stdio' does not go with url"),
        ({"servers": {"a": {"url": "x"}}, "tools": ["g"], "score": {"tool": "g"}}, "the model must not see them"),
        ({"servers": {"a": {"url": "x"}}, "start_seconds": 0}, "start_seconds Input should be greater than 0"),
    ],
)
def test_wrong_arguments_of_a_row_are_named(settings, message):
    with pytest.raises(ValueError) as raised:
        get_environment("mcp")(**settings)
    assert str(raised.value).startswith("arguments of the environment mcp: ") and message in str(raised.value)


def test_the_arguments_that_the_docs_show_are_taken():
    shown = re.findall(r"```json\n(.*?)```", (ROOT / "docs/rollout.md").read_text(), re.DOTALL)
    (settings,) = [read_settings(json.loads(one)) for one in shown if '"servers"' in one]
    assert sorted(settings.servers) == ["files", "search"] and settings.hidden == {"load_task", "grade"}


def test_what_is_no_text_is_named_in_its_place():
    """100 bytes are 136 characters in base64, the last two of them padding."""
    blob = "A" * 134 + "=="
    content = [
        TextContent(text="first"),
        ImageContent(data=blob, mime_type="image/png"),
        EmbeddedResource(resource=TextResourceContents(uri="file:///a", text="inside")),
        EmbeddedResource(resource=BlobResourceContents(uri="file:///b", blob=blob)),
        ResourceLink(uri="file:///c", name="c"),
    ]
    assert text_of_result(CallToolResult(content=content)).split("\n") == [
        "first",
        "[image not shown: image/png, 100 bytes]",
        "inside",
        "[resource not shown: file:///b, no type, 100 bytes]",
        "[link: file:///c, c]",
    ]
    assert text_of_result(CallToolResult(content=[], structured_content={"a": 1})) == '{"a": 1}'
    assert text_of_result(CallToolResult(content=[])) == ""


@pytest.mark.parametrize(
    ("text", "structured", "score"),
    [
        ("0.5", None, {"score": 0.5}),
        ('{"score": 1, "steps": 3}', None, {"score": 1, "steps": 3}),
        ("shown", {"result": 0.25}, {"score": 0.25}),
        ("shown", {"score": 0}, {"score": 0}),
    ],
)
def test_a_verdict_is_a_number_or_an_object(text, structured, score):
    assert read_score(CallToolResult(content=[TextContent(text=text)], structured_content=structured)) == score


@pytest.mark.parametrize("value", [math.inf, math.nan, 10**5000], ids=["inf", "nan", "long"])
def test_arguments_that_json_cannot_hold_are_refused(value):
    with pytest.raises(TypeError, match="no JSON"):
        json_arguments({"a": [value]})


def test_a_lone_surrogate_in_arguments_breaks_no_session(notes):
    """The client's writer would end with the error, and the session with it."""

    async def run():
        environment = get_environment("mcp")(servers={"desk": notes[0]})
        await environment.reset()
        await environment.call("write", {"key": "a\ud800", "text": "b"})
        with pytest.raises(ToolError, match="Error executing tool read"):
            await environment.call("read", {"key": "a"})
        result = await environment.call("read", {"key": "a\ufffd"})
        await environment.close()
        return result

    assert asyncio.run(run()) == "b"
