"""verl's own tools as the agent loop runs them: function tools, `BaseTool` classes, MCP."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

from verl.experimental.agent_loop.tool_parser import FunctionCall
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import ToolResponse

from rest_verl.rollout.calls import UNREADABLE, Call, Failure
from rest_verl.rollout.safe_text import first_line
from rest_verl.rollout.waiting import call_in_thread


def in_thread(tool: Any) -> Any:
    """The tool, or a copy of it: verl runs blocking function tools in the event loop's pool, where a few that hang
    would stop everything."""
    if not isinstance(tool, FunctionTool) or tool.is_async:
        return tool
    return dataclasses.replace(tool, fn=functools.partial(call_in_thread, tool.fn), is_async=True)


def as_verls(call: Call) -> FunctionCall:
    """A call with its arguments as JSON text; Failure where JSON cannot hold them."""
    try:
        return FunctionCall(name=call.name or "", arguments=json.dumps(call.arguments))
    except ValueError as error:  # a number of thousands of digits, which some formats can write
        raise Failure("unreadable", UNREADABLE) from error


def text_of_response(response: ToolResponse, name: str) -> str:
    """The text of a tool's response; Failure where verl's loop put the words for an exception into it."""
    text = response.text or ""
    if text.startswith(f"Error executing tool '{name}': "):
        raise Failure("exception", first_line(text.removeprefix("Error ")))
    return text


def media_of(response: ToolResponse) -> dict[str, Any]:
    """Images and videos of a tool's response."""
    return {key: value for key in ("image", "video") if (value := getattr(response, key)) is not None}
