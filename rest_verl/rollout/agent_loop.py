"""Agent loop `rest_tool_agent`: verl's tool agent loop with stateful environments and several user turns.

verl's loop handles token ids, masks and log-probs: generated tokens are never decoded and encoded again. This module
adds the parser of calls (`rest.format`), the environment that a row names, limits, and a record of the trajectory.
Rows without an environment use verl's tools (function tools, `BaseTool` classes) as in verl's loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState
from verl.experimental.agent_loop.tool_parser import ToolParser
from verl.tools.schemas import ToolResponse

from rest_verl.common.logs import logger_of
from rest_verl.core.stops import text_length
from rest_verl.core.tool_calls import NO_TOOLS, ToolSchemas
from rest_verl.formats.tools import tools_of_row, tools_text
from rest_verl.rollout.calls import (
    UNREADABLE,
    Call,
    Failure,
    read_calls,
    read_result,
    run_tool_call,
    shown_name,
    unknown_tool,
)
from rest_verl.rollout.environment import (
    Environment,
    HearsAnswers,
    Message,
    NamesStates,
    ScoresTurns,
    environment_of,
)
from rest_verl.rollout.environment_results import (
    next_messages_of,
    opening_of,
    score_of,
    state_name_of,
    turn_scores_of,
)
from rest_verl.rollout.per_turn import split_turns
from rest_verl.rollout.record import GeneratedTurn, Limits, Record
from rest_verl.rollout.safe_text import cut, safe_message
from rest_verl.rollout.settings import LoopSettings, settings_of
from rest_verl.rollout.simulated_user import SimulatedUser, UserFailedError, user_of
from rest_verl.rollout.verl_loop import (
    ExactToolAgentLoop,
    media_of,
    offered_tools,
    text_of_response,
    threaded_tool,
    to_function_call,
)
from rest_verl.rollout.waiting import UserCodeError, wait_at_most

logger = logger_of(__name__)


class CallReader(ToolParser):
    """verl's tool parser interface over the calls of a generated turn."""

    def __init__(self, settings: LoopSettings, record: Record):
        self._settings = settings
        self._record = record
        self.tools: ToolSchemas = NO_TOOLS  # of the trajectory
        self.answer = ""  # of the latest turn

    @property
    def stop_token_ids(self) -> list[int]:
        return self._settings.stop_token_ids

    async def extract_tool_calls(self, responses_ids: list[int], tools: Any = None) -> tuple[str, list[Any]]:
        """Answer and calls of a turn; verl passes the calls only to methods that `RestToolAgentLoop` overrides."""
        first = len(self._record.calls)
        settings = self._settings
        written = responses_ids[: text_length(responses_ids, settings.ends)]
        self.answer, calls = read_calls(settings.wire_format, settings.pieces, written, first, self.tools)
        return self.answer, calls


@register("rest_tool_agent")
class RestToolAgentLoop(ExactToolAgentLoop):
    """Loop of one trajectory.

    Adds to `extra_fields`: `rest_turns`, bounds [start, end) of each generated turn in response tokens;
    `rest_rollout`, numbers for the metrics; `rest_environment`, the score of the environment if it gives one;
    `rest_decided`, what was decided before the end (`Record.decided`); `rest_turn_scores` and `rest_states`, what the
    environment says of its turns and its states; `rest_tools`, the tools that were offered besides those of the row;
    and `rest_turn_table`, the turns with their calls, if the run has `rest.dump_dir`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._settings = settings_of(self.config, self.tokenizer)
        self._limits = Limits(
            self._settings.rollout, self.max_assistant_turns, self.max_user_turns, self.max_parallel_calls
        )
        # Ours apply instead: verl would end trajectories without a reason and drop calls silently.
        self.max_assistant_turns = self.max_user_turns = self.max_parallel_calls = None
        self.tools = {name: threaded_tool(tool) for name, tool in self.tools.items()}
        self._record = Record()
        self.tool_parser = self._reader = CallReader(self._settings, self._record)
        self._environment: Environment | None = None
        self._user: SimulatedUser | None = None

    # verl's trainer also accepts a list, although the base class does not declare it.
    async def run(  # type: ignore[override]
        self, sampling_params: dict[str, Any], **kwargs: Any
    ) -> AgentLoopOutput | list[AgentLoopOutput]:
        rollout = self._settings.rollout
        extra_info = kwargs.get("extra_info") or {}
        score: dict[str, Any] = {}
        turn_scores: list[float] = []
        async with environment_of(extra_info, rollout.call_seconds) as environment:
            if environment is not None:
                self._environment = environment
                opening = await opening_of(environment, rollout.max_seconds)
                kwargs["raw_prompt"] = [*kwargs["raw_prompt"], *self._safe_messages(opening.messages)]
                self.tools, self.tool_schemas = {}, [dict(tool) for tool in opening.tools]
            if (user := user_of(extra_info)) is not None:
                self._user, self._record.user_numbers = user, user.numbers
                first = await user.begin(kwargs["raw_prompt"])
                kwargs["raw_prompt"] = [*kwargs["raw_prompt"], *self._safe_messages(first)]
            offered = tools_of_row({"tools": offered_tools(self.tool_schemas, extra_info)})
            self._reader.tools = {**tools_of_row(extra_info), **offered}
            output = await super().run(sampling_params, **kwargs)
            if environment is not None:
                scored = await score_of(environment, rollout.max_seconds)
                score = {} if scored is None else {"rest_environment": scored}
                if isinstance(environment, ScoresTurns):
                    reached = self._record.user_turn + 1
                    turn_scores = await turn_scores_of(environment, reached, rollout.max_seconds)
        fields = self._record.fields(output.response_mask, self._settings.records_turns)
        fields["rest_decided"] = self._record.decided(turn_scores, fields["rest_turns"])
        if turn_scores:
            fields["rest_turn_scores"] = turn_scores
        tools = {"rest_tools": tools_text(offered)} if offered else {}
        output.extra_fields |= fields | score | tools
        return split_turns(output) if rollout.per_turn else output

    async def _handle_pending_state(self, agent_data: AgentData, sampling_params: dict[str, Any]) -> AgentState:
        state = await super()._handle_pending_state(agent_data, sampling_params)
        if self.rollout_config.max_model_len:
            # The engine raises above this limit, which would cost the whole trajectory.
            room = self.rollout_config.max_model_len - len(agent_data.prompt_ids)
            self.response_length = min(self.response_length, room)
        return state

    async def _handle_generating_state(
        self, agent_data: AgentData, sampling_params: dict[str, Any], ignore_termination: bool = False
    ) -> AgentState:
        state = None
        if isinstance(self._environment, NamesStates):
            name = await state_name_of(self._environment, self._limits.rollout.max_seconds)
            state = self._settings.make_safe(name)
        start, began = len(agent_data.response_mask), time.monotonic()
        agent_data.tool_calls = []
        await super()._handle_generating_state(agent_data, sampling_params, ignore_termination)
        calls: list[Any] = agent_data.tool_calls
        turn = GeneratedTurn(start, self._record.user_turn, time.monotonic() - began, calls, state)
        self._record.turns.append(turn)
        if len(agent_data.response_mask) >= self.response_length:
            return self._end("response_length")
        if isinstance(self._environment, HearsAnswers):
            await wait_at_most(self._limits.rollout.max_seconds, self._environment.hear(self._reader.answer))
        if not calls:
            return await self._handle_user_turn(agent_data)
        reason = self._limits.reached(self._record)
        # Nobody will read the results: run the calls only for their effect on an environment.
        return self._end(reason) if reason and self._environment is None else AgentState.PROCESSING_TOOLS

    async def _handle_processing_tools_state(self, agent_data: AgentData) -> AgentState:
        began = time.monotonic()
        await self._run_calls(agent_data)
        spent = agent_data.metrics.get("tool_calls", 0.0)  # verl itself measures the look-up only
        agent_data.metrics["tool_calls"] = spent + time.monotonic() - began
        self._record.tool_turns += 1
        if reason := self._limits.reached(self._record):
            return self._end(reason)
        state = await super()._handle_processing_tools_state(agent_data)
        return self._end("response_length") if state == AgentState.TERMINATED else state

    async def _handle_user_turn(self, agent_data: AgentData) -> AgentState:
        """Continue with the next user turn."""
        messages: Sequence[Message] | None
        try:
            if self._user is not None:
                messages = await self._user.reply(self._reader.answer)
            elif self._environment is not None:
                messages = await next_messages_of(self._environment, self._seconds_left())
            else:
                return self._end("done")
        except TimeoutError:
            return self._end("seconds")
        except UserFailedError as error:
            logger.warning("a trajectory ends early: %s", error)
            return self._end("user_failed")
        if messages is None:
            return self._end("done")
        self._record.user_turn += 1
        if reason := self._limits.reached(self._record):
            return self._end(reason)
        return await self._append(agent_data, self._safe_messages(messages))

    async def _append(self, agent_data: AgentData, messages: list[Message]) -> AgentState:
        """Append messages to the trajectory, and generate again if there is room."""
        before = list(agent_data.messages)
        agent_data.messages.extend(messages)
        merged, mask, log_probs = await self.merge_messages(
            before,
            agent_data.messages,
            agent_data.prompt_ids,
            agent_data.response_mask,
            agent_data.response_logprobs or None,
            tools=self.tool_schemas,
        )
        if len(mask) >= self.response_length:
            return self._end("response_length")
        agent_data.prompt_ids, agent_data.response_mask = merged.token_ids, mask
        agent_data.response_logprobs = log_probs or []
        agent_data.user_turns += 1
        return AgentState.GENERATING

    async def _run_calls(self, agent_data: AgentData) -> None:
        """Run the calls of the turn that was just generated."""
        calls = self._record.turns[-1].calls
        in_turn = self._limits.calls_per_turn or len(calls)
        in_all = self._limits.rollout.max_calls - len(self._record.calls) + len(calls)
        allowed = max(0, min(in_turn, in_all))
        if allowed > 1 and (self._environment is None or self._environment.parallel):
            # All of them, whatever one raises: none may still run when the environment is closed.
            ended = await asyncio.gather(
                *(self._run_call(call, agent_data) for call in calls[:allowed]), return_exceptions=True
            )
            for error in filter(None, ended):
                raise error
        else:
            for call in calls[:allowed]:
                await self._run_call(call, agent_data)
        for call in calls[allowed:]:
            self._note_failure(call, Failure("too_many_calls", f"not run: at most {allowed} calls are allowed here"))

    async def _run_call(self, call: Call, agent_data: AgentData) -> None:
        """Run one call and record its result."""
        began = time.monotonic()
        limit = min(self._limits.rollout.call_seconds, self._seconds_left())
        try:
            if call.name is None or call.arguments is None:
                raise Failure("unreadable", UNREADABLE)
            if limit == 0:
                raise Failure("timeout", "not run: there is no time left")
            if self._environment is not None:
                work = run_tool_call(self._environment.call(call.name, call.arguments), call.name)
                text, call.reward = read_result(await wait_at_most(limit, work))
                self._note_result(call, text)
            else:
                await wait_at_most(limit, run_tool_call(self._run_tool(call, agent_data), call.name))
        except Failure as failure:
            self._note_failure(call, failure)
        except UserCodeError as error:
            self._note_failure(call, Failure("exception", str(error)))
        except TimeoutError:
            self._note_failure(call, Failure("timeout", f"the call was stopped after {limit:g} s"))
        finally:
            call.seconds = time.monotonic() - began

    async def _run_tool(self, call: Call, agent_data: AgentData) -> None:
        """Run a call of one of verl's own tools."""
        name = call.name or ""
        if name not in agent_data._active_tools:  # type: ignore[attr-defined]  # verl sets it on each trajectory
            raise unknown_tool(name)
        response, call.reward, _ = await super()._call_tool(
            to_function_call(call), agent_data.tools_kwargs, agent_data
        )
        call.media = media_of(response)
        self._note_result(call, text_of_response(response, name))

    def _note_result(self, call: Call, result: str) -> None:
        text, call.truncated = cut(result, self._limits.rollout.max_result_length)
        call.result = self._settings.make_safe(text)

    def _note_failure(self, call: Call, failure: Failure) -> None:
        self._note_result(call, f"Error: {failure.message}")
        call.error = failure.error

    async def _call_tool(
        self, tool_call: Any, tools_kwargs: dict[str, Any], agent_data: AgentData
    ) -> tuple[ToolResponse, float, dict[str, Any]]:
        """Return the stored result, which verl puts into the tool's message."""
        return ToolResponse(text=tool_call.result, **tool_call.media), tool_call.reward, {}

    def _build_assistant_message(self, content: str, agent_data: AgentData) -> Message:
        """The turn as a message. It adds no tokens: templates look up the names of its calls, and tools may read
        it."""
        calls: list[Any] = agent_data.tool_calls
        make_safe = self._settings.make_safe
        tool_calls = [
            {
                "id": make_safe(call.tool_call_id),
                "type": "function",
                "function": {"name": make_safe(shown_name(call.name)), "arguments": {}},
            }
            for call in calls
        ]
        message = {"role": "assistant", "content": make_safe(content)}
        return {**message, "tool_calls": tool_calls} if tool_calls else message

    def _safe_messages(self, messages: Sequence[Message]) -> list[Message]:
        return [safe_message(message, self._settings.make_safe) for message in messages]

    def _seconds_left(self) -> float:
        return self._record.seconds_left(self._limits.rollout.max_seconds)

    def _end(self, reason: str) -> AgentState:
        self._record.ended_by = reason
        return AgentState.TERMINATED
