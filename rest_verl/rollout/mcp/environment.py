"""Environment `mcp`: a trajectory acts on the tools of MCP servers, in sessions of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import MCPError
from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
    Tool,
)

from rest_verl.common.names import unknown_name
from rest_verl.rollout.calls import json_arguments
from rest_verl.rollout.environment import LeftToScorer, Message, Opening, ToolError, register_environment
from rest_verl.rollout.mcp.servers import HiddenCall, read_settings, servers_of
from rest_verl.rollout.mcp.session import Session
from rest_verl.rollout.safe_text import one_line


@register_environment("mcp")
class McpEnvironment:
    """Tools of one or several MCP servers. A subclass can play a user (`next_user_turn`) or score in another way."""

    def __init__(self, **settings: Any):
        """
        Args:
            settings: see `McpSettings`.

        Raises:
            ValueError: keys are missing, unknown or invalid; the message names each.
        """
        self._settings = read_settings(settings)
        self._sessions: list[Session] = []
        self._tools: dict[str, Session] = {}  # all tools, hidden ones too

    @property
    def parallel(self) -> bool:
        return self._settings.parallel

    async def reset(self) -> Opening:
        """Open the sessions, list the tools and make the call of `setup`.

        Raises:
            McpServerError: a server does not start; the message says what to do.
            ValueError: a tool of the settings is not there, or there twice; a variable of a server is not set.
        """
        settings = self._settings
        servers = servers_of(settings)
        self._sessions = [Session(name, server, settings.start_seconds) for name, server in servers.items()]
        listed = await asyncio.gather(*(session.open() for session in self._sessions), return_exceptions=True)
        offered: dict[str, Tool] = {}
        wanted = None if settings.tools is None else set(settings.tools) | settings.hidden
        for session, tools in zip(self._sessions, listed, strict=True):
            if isinstance(tools, BaseException):
                raise tools
            for tool in tools:
                if wanted is not None and tool.name not in wanted:
                    continue
                if tool.name in self._tools:
                    raise ValueError(f"two servers have a tool {tool.name!r}: the model could not say which it calls")
                self._tools[tool.name] = session
                offered[tool.name] = tool
        for name in sorted((wanted or settings.hidden) - self._tools.keys()):
            there = [tool.name for tools in listed if not isinstance(tools, BaseException) for tool in tools]
            raise ValueError(unknown_name(f"tool of the MCP servers {', '.join(servers)}", name, there))
        if settings.setup is not None:
            await self.ask(settings.setup)
        return Opening(tools=[schema_of(tool) for name, tool in offered.items() if name not in settings.hidden])

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool that the model is offered; KeyError for any other."""
        if name in self._settings.hidden:
            raise KeyError(name)
        session = self._tools[name]
        try:
            result = await session.call(name, json_arguments(arguments))
        except MCPError as error:
            raise ToolError(one_line(error.message)) from error
        text = text_of_result(result)
        if result.is_error:
            raise ToolError(one_line(text))
        return text

    async def ask(self, hidden: HiddenCall) -> CallToolResult:
        """Make a call of the environment's own.

        Raises:
            RuntimeError: the tool reports an error, or its server has died.
        """
        result = await self._tools[hidden.tool].call(hidden.tool, hidden.arguments)
        if result.is_error:
            raise RuntimeError(
                f"the tool {hidden.tool!r} of setup or score failed: {one_line(text_of_result(result))}"
            )
        return result

    async def next_user_turn(self) -> Sequence[Message] | None:
        return None

    async def score(self) -> dict[str, float] | LeftToScorer:
        """The verdict of the tool of `score`, if there is one."""
        return LeftToScorer() if self._settings.score is None else read_score(await self.ask(self._settings.score))

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.gather(*(session.close() for session in self._sessions), return_exceptions=True)


def schema_of(tool: Tool) -> dict[str, Any]:
    """A tool as chat templates take it."""
    function = {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
    return {"type": "function", "function": function}


def text_of_result(result: CallToolResult) -> str:
    """What the model reads of a result: its texts, a line for what is no text, and its structured content as JSON if
    there is nothing else."""
    if not result.content and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(map(_text_of_block, result.content))


def read_score(result: CallToolResult) -> dict[str, float]:
    """A verdict as `Environment.score` returns it, whose numbers the agent loop checks.

    Raises:
        ValueError: it is neither a number nor an object.
    """
    value: Any = result.structured_content
    if value is None:
        value = json.loads(text_of_result(result))
    if isinstance(value, Mapping) and value.keys() == {"result"}:  # a plain number, as servers wrap it
        value = value["result"]
    if isinstance(value, int | float):
        return {"score": float(value)}
    if not isinstance(value, Mapping):
        raise ValueError(
            f"the tool of score returned {value!r:.200}: return a number in [0, 1] or an object with score"
        )
    return dict(value)


def _text_of_block(block: ContentBlock) -> str:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, ImageContent | AudioContent):
        return f"[{block.type} not shown: {block.mime_type}, {_bytes(block.data)}]"
    if isinstance(block, EmbeddedResource):
        inside = block.resource
        if isinstance(inside, TextResourceContents):
            return inside.text
        return f"[resource not shown: {inside.uri}, {inside.mime_type or 'no type'}, {_bytes(inside.blob)}]"
    return f"[link: {block.uri}, {block.name}]"


def _bytes(base64: str) -> str:
    return f"{len(base64.rstrip('=')) * 3 // 4:,} bytes"
