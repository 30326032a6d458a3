"""The agent loop `rest_tool_agent`: verl's tool agent loop, with the bounds of every generated turn written down.

Tool output lies between the turns in the same response. The reward must not score it, and nothing downstream could
tell it apart by text alone.
"""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop

TURNS = "rest_turns"


@register("rest_tool_agent")
class RestToolAgentLoop(ToolAgentLoop):
    """Adds `extra_fields["rest_turns"]`: bounds [start, end) of each generated turn, in response tokens."""

    async def _handle_generating_state(
        self, agent_data: AgentData, sampling_params: dict[str, Any], ignore_termination: bool = False
    ) -> AgentState:
        start = len(agent_data.response_mask)
        state = await super()._handle_generating_state(agent_data, sampling_params, ignore_termination)
        # After verl has put the engine's own fields there: it fills them in only while `extra_fields` is empty.
        agent_data.extra_fields.setdefault(TURNS, []).append([start, len(agent_data.response_mask)])
        return state

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        output = await super().run(sampling_params, **kwargs)
        length = len(output.response_ids)
        turns = output.extra_fields[TURNS]
        output.extra_fields[TURNS] = [[start, min(end, length)] for start, end in turns if start < length]
        return output
