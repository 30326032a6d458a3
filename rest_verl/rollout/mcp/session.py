"""A trajectory's session with one MCP server: one task opens the connection, keeps it and closes it.

The client's cancel scopes must be left in the task that entered them, and a trajectory's calls run in tasks of their
own, which the loop may cancel at any time. A task that owns the connection is cancelled by nobody: it winds the server
down in its own time, whoever has stopped waiting for it.

The handshake is the one of `initialize`, which gives every session state of its own, also over HTTP. The protocol of
2026-07-28 knows no sessions: a server that speaks nothing else is refused when it starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TextIO

import anyio

from rest_verl.common.logs import logger_of
from rest_verl.rollout.mcp.servers import Server
from rest_verl.rollout.safe_text import text_of_error

try:
    import httpx2
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import CONNECTION_CLOSED, CallToolResult, Tool
except ImportError as error:
    raise ModuleNotFoundError(
        f"environment 'mcp' needs version 2 of the package mcp ({error}). Run: pip install 'mcp>=2'", name="mcp"
    ) from error

logger = logger_of(__name__)

CLOSE_SECONDS = 10.0  # the client itself kills a program that ignores the end of its input after 4 s
CONNECT_SECONDS = 30.0
MAX_EVENT = 64 * 2**20  # bytes of one answer over HTTP
MAX_PAGES = 100  # of a list of tools: one that never ends must not hold a trajectory
_TAIL = 2000  # characters of what a program wrote to its standard error

_owners: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks weakly


class McpServerError(RuntimeError):
    """A server cannot be started, has died, or answers with what is no MCP; the text says which."""


class Session:
    """Session with one server; made for one trajectory, in its event loop."""

    def __init__(self, name: str, server: Server, start_seconds: float):
        """
        Args:
            name: name of the server, for messages.
            server: the server as it was written; its variables are read when the session opens.
            start_seconds: time limit for starting the server and listing its tools.
        """
        self._name, self._server, self._start_seconds = name, server, start_seconds
        self._closing = asyncio.Event()
        self._scope = anyio.CancelScope()
        self._opened: asyncio.Future[tuple[Client, list[Tool]]] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None] | None = None

    async def open(self) -> list[Tool]:
        """Start the server, or connect to it, and list its tools.

        Raises:
            McpServerError: it does not start, or not in time; the message says what it wrote and what to try.
            ValueError: an environment variable that it names is not set.
        """
        self._owner = asyncio.create_task(self._own(self._server.expanded()))
        _owners.add(self._owner)
        self._owner.add_done_callback(_owners.discard)
        await asyncio.wait({self._opened})  # unlike awaiting it, leaves it alone when the trajectory is cancelled
        return self._opened.result()[1]

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool. A call that is cancelled is cancelled at the server as well, as far as the server allows it.

        Raises:
            McpServerError: the server has died.
            MCPError: it refuses the call.
        """
        if self._owner is None or self._owner.done() or self._closing.is_set():
            raise McpServerError(f"the server {self._name!r} of this tool has ended")
        try:
            return await self._opened.result()[0].call_tool(tool, arguments)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise McpServerError(f"the server {self._name!r} of this tool has ended") from error
            raise

    async def close(self) -> None:
        """End the session: a program is asked to end by the end of its input, and killed with all its children if it
        does not. Cancelled, this leaves the rest to the task that owns the connection."""
        if self._owner is None:
            return
        if self._opened.done():
            self._closing.set()
        else:
            self._scope.cancel()
        await asyncio.wait({self._owner})

    async def _own(self, server: Server) -> None:
        """Body of the task that owns the connection. It raises nothing: what is wrong is told by `open` or the log."""
        stderr = _Tail()
        self._scope.deadline = anyio.current_time() + self._start_seconds
        try:
            with self._scope:
                async with _connected(server, stderr) as client:
                    self._opened.set_result((client, await _list_tools(client)))
                    self._scope.deadline = float("inf")
                    await self._closing.wait()
                    self._scope.deadline = anyio.current_time() + CLOSE_SECONDS
            if self._scope.cancelled_caught and not self._opened.done():
                self._fail(TimeoutError(f"no list of tools within {self._start_seconds:g} s"), stderr)
        except Exception as error:  # groups of errors from the client's tasks, and whatever a server makes it raise
            if self._opened.done():
                logger.warning("session with MCP server %r broke: %s", self._name, text_of_error(_first(error)))
            else:
                self._fail(_first(error), stderr)
        finally:
            stderr.close()
            if not self._opened.done():  # the event loop is ending
                self._opened.cancel()

    def _fail(self, error: BaseException, stderr: _Tail) -> None:
        program = self._server.command is not None
        said = f". It wrote: {stderr.text.strip()}" if stderr.text.strip() else ""
        advice = (
            f"run {self._server.shown()!r} by hand on a node of the run, or raise start_seconds if it downloads first"
            if program
            else f"start it, or correct servers.{self._name}.url"
        )
        failure = McpServerError(
            f"MCP server {self._name!r} ({self._server.shown()}) cannot be {'started' if program else 'reached'}: "
            f"{type(error).__name__}: {text_of_error(error)}{said}. To find out more, {advice}"
        )
        failure.__cause__ = error
        self._opened.set_exception(failure)
        self._opened.exception()  # retrieved here, since the trajectory may no longer wait for it


@asynccontextmanager
async def _connected(server: Server, stderr: _Tail) -> AsyncIterator[Client]:
    """A client after the handshake. Calls have the loop's own time limits."""
    if server.url is not None:
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=None)
        async with (
            httpx2.AsyncClient(headers=server.headers, timeout=timeout) as http,
            Client(
                streamable_http_client(server.url, http_client=http, max_sse_event_size=MAX_EVENT),
                mode="legacy",
                cache=None,
            ) as client,
        ):
            yield client
        return
    program = StdioServerParameters(
        command=server.command or "",
        args=server.args,
        env=server.env,
        cwd=server.cwd,
        encoding_error_handler="replace",
    )
    async with Client(stdio_client(program, errlog=await stderr.open()), mode="legacy", cache=None) as client:
        stderr.close_own_end()
        yield client


async def _list_tools(client: Client) -> list[Tool]:
    tools: list[Tool] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return tools
    raise ValueError(f"its list of tools has more than {MAX_PAGES} pages")


class _Tail(asyncio.Protocol):
    """The end of what a program writes to its standard error, through a pipe that is always read."""

    def __init__(self) -> None:
        self.text = ""
        self._transport: asyncio.BaseTransport | None = None
        self._file: TextIO | None = None

    async def open(self) -> TextIO:
        """The end of the pipe for the program."""
        reading, writing = os.pipe()
        self._file = os.fdopen(writing, "w")
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: self, os.fdopen(reading, "rb"))
        return self._file

    def data_received(self, data: bytes) -> None:
        self.text = (self.text + data.decode(errors="replace"))[-_TAIL:]

    def close_own_end(self) -> None:
        """Close the program's end in this process, once the program has it."""
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        self.close_own_end()
        if self._transport is not None:
            self._transport.close()


def _first(error: BaseException) -> BaseException:
    """The first error in a group of errors, which Python 3.10 has no name for; any other error itself."""
    while inner := getattr(error, "exceptions", None):
        error = inner[0]
    return error
