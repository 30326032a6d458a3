"""verl's tool agent loop and verl's own tools, adapted for `rest_tool_agent`."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import verl
from omegaconf import open_dict
from packaging.version import Version
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop
from verl.experimental.agent_loop.tool_parser import FunctionCall
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import ToolResponse

from rest_verl.rollout.calls import UNREADABLE, Call, Failure
from rest_verl.rollout.safe_text import first_line
from rest_verl.rollout.waiting import call_in_thread

OPT_IN_CONTINUOUS_TOKENS = Version(verl.__version__) < Version("0.9.1")


class ExactToolAgentLoop(ToolAgentLoop):
    """verl's loop with continuous tokens: token ids are never decoded and encoded again."""

    def __init__(self, *args: Any, **kwargs: Any):
        if OPT_IN_CONTINUOUS_TOKENS:
            kwargs["data_config"] = with_continuous_tokens(kwargs["data_config"], kwargs["processor"])
        super().__init__(*args, **kwargs)

    async def merge_messages(self, *args: Any, **kwargs: Any) -> Any:
        """verl's `ct_merge_context_msg`: append messages to token ids, mask and log-probs."""
        if OPT_IN_CONTINUOUS_TOKENS:
            return await self.ct_merge_non_assistant_msg(*args, **kwargs)  # type: ignore[attr-defined]
        return await self.ct_merge_context_msg(*args, **kwargs)


def with_continuous_tokens(wrapped: DictConfigWrap, processor: Any) -> DictConfigWrap:
    """A copy of verl 0.9.0's data config with continuous tokens switched on.

    Raises:
        ValueError: the model is multimodal.
    """
    if processor is not None:
        raise ValueError(
            "rest_tool_agent cannot keep the token ids of a multimodal model exact in verl 0.9.0: "
            "pip install 'verl>=0.9.1'"
        )
    data = deepcopy(wrapped.config)
    with open_dict(data):
        data.continuous_token.enable = True
    return DictConfigWrap(data)


def offered_tools(schemas: Sequence[Mapping[str, Any]], extra_info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas of the tools that a row is offered: all, or those that its `tool_selection` names, as in verl."""
    selected = extra_info.get("tool_selection")
    return [schema for schema in schemas if not selected or schema.get("function", {}).get("name") in selected]


def threaded_tool(tool: Any) -> Any:
    """A copy of a blocking function tool that runs in a thread of its own; any other tool unchanged. verl runs them in
    the event loop's pool, where a few hanging tools would stop every trajectory."""
    if not isinstance(tool, FunctionTool) or tool.is_async:
        return tool
    return dataclasses.replace(tool, fn=functools.partial(call_in_thread, tool.fn), is_async=True)


def to_function_call(call: Call) -> FunctionCall:
    """A call as verl's `FunctionCall`, with JSON arguments; Failure if JSON cannot hold them."""
    try:
        return FunctionCall(name=call.name or "", arguments=json.dumps(call.arguments))
    except ValueError as error:  # a number with thousands of digits, which some formats allow
        raise Failure("unreadable", UNREADABLE) from error


def text_of_response(response: ToolResponse, name: str) -> str:
    """The text of a tool's response; Failure if verl's loop put an exception into it."""
    text = response.text or ""
    if text.startswith(f"Error executing tool '{name}': "):
        raise Failure("exception", first_line(text.removeprefix("Error ")))
    return text


def media_of(response: ToolResponse) -> dict[str, Any]:
    """Images and videos of a tool's response."""
    return {key: value for key in ("image", "video") if (value := getattr(response, key)) is not None}
