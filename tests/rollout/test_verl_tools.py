"""verl's own tools in `rest_tool_agent`: as in verl's loop, with our parser, limits and turn table."""

import asyncio
import json
from uuid import uuid4

import pytest
from scripted_engine import ScriptedEngine, make_loop
from transformers.utils import get_json_schema
from verl.tools.base_tool import BaseTool
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse


def function_tool(function, is_async=False):
    return FunctionTool(
        function.__name__, function, OpenAIFunctionToolSchema.model_validate(get_json_schema(function)), is_async
    )


def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: the first.
        b: the second.
    """
    return str(a + b)


async def repeat(text: str, times: int) -> str:
    """Repeat a text.

    Args:
        text: what.
        times: how often.
    """
    return text * times


def fail() -> str:
    """Fail."""
    raise RuntimeError("broken " * 1000)


class Counter(BaseTool):
    """A stateful tool of verl's, whose life verl's loop manages."""

    def __init__(self):
        schema = {
            "type": "function",
            "function": {
                "name": "count",
                "description": "Count.",
                "parameters": {"type": "object", "properties": {}, "required": []},
            },
        }
        super().__init__({}, OpenAIFunctionToolSchema.model_validate(schema))
        self.log = []

    async def create(self, instance_id=None, create_kwargs=None, **kwargs):
        self.log.append(("create", create_kwargs))
        return str(uuid4()), ToolResponse()

    async def execute(self, instance_id, parameters, **kwargs):
        self.log.append(("execute", [message["role"] for message in kwargs["agent_data"].messages]))
        return ToolResponse(text="1"), 0.5, {}

    async def release(self, instance_id, **kwargs):
        self.log.append(("release", None))


TOOLS = [function_tool(add), function_tool(repeat, is_async=True), function_tool(fail)]


def test_a_conversation_gives_the_tokens_that_verls_loop_gives(chat, config_of, call):
    turns = [
        [*call("add", a=2, b=3)],
        call("repeat", text="ab", times=3),
        chat.encode("six", add_special_tokens=False),
    ]

    async def run(name):
        engine = ScriptedEngine(turns, chat.eos_token_id)
        # verl 0.9.0's loop decodes and encodes again unless it is told not to; later versions never do
        loop = make_loop(config_of("++data.continuous_token.enable=True"), chat, engine, name, TOOLS)
        return await loop.run({}, raw_prompt=[{"role": "user", "content": "Add."}])

    ours, verls = asyncio.run(run("rest_tool_agent")), asyncio.run(run("tool_agent"))
    for field in ("prompt_ids", "response_ids", "response_mask", "response_logprobs", "num_turns"):
        assert getattr(ours, field) == getattr(verls, field)
    assert ours.extra_fields["tool_rewards"] == verls.extra_fields["tool_rewards"]
    rewards = [reward for reward in verls.extra_fields["tool_rewards"] if reward is not None]
    assert [amount for _, amount in ours.extra_fields["rest_decided"]] == rewards
    assert [turn["calls"][0]["result"] for turn in ours.extra_fields["rest_turn_table"][:2]] == ["5", "ababab"]


def test_stateful_tools_are_created_released_and_rewarded(play, call):
    counter = Counter()
    played = play([call("count"), "one"], desk=None, tools=[counter])
    assert counter.log == [("create", {}), ("execute", ["user", "assistant"]), ("release", None)]
    assert played.fields["tool_rewards"] == [0.5]
    assert "rest_environment" not in played.fields
    assert played.ended_by == ["ended_by/done"]


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [("fly", {}, "unknown_tool"), ("fail", {}, "exception"), ("add", {"a": 1}, "exception")],
)
def test_errors_of_verls_tools_are_short_messages_of_a_kind(play, call, name, arguments, error):
    played = play([call(name, **arguments), "I see."], desk=None, tools=TOOLS)
    (failed,) = played.calls
    assert failed["error"] == error
    assert failed["result"].startswith("Error: ") and len(failed["result"]) < 600


def test_a_turn_beyond_the_limit_runs_no_tool_whose_result_nobody_reads(play, call):
    counter = Counter()
    overrides = ["actor_rollout_ref.rollout.multi_turn.max_assistant_turns=1"]
    played = play([call("count")], *overrides, desk=None, tools=[counter])
    assert played.ended_by == ["ended_by/assistant_turns"] and counter.log == []


def test_tools_that_a_row_does_not_select_are_unknown(play, call):
    played = play([call("add", a=1, b=2), "ok"], desk=None, tools=TOOLS, tool_selection=["repeat"])
    assert [call["error"] for call in played.calls] == ["unknown_tool"]


def test_a_row_with_an_environment_has_its_tools_only(play, call):
    played = play([call("add", a=1, b=2), "ok"], tools=TOOLS)
    assert [call["error"] for call in played.calls] == ["unknown_tool"]


def test_a_number_that_json_text_cannot_hold_is_not_passed_on(play, chat):
    played = play([f"[add(a=0x{'f' * 5000}, b=1)]", "ok"], "rest.format=pythonic", desk=None, tools=TOOLS)
    assert [call["error"] for call in played.calls] == ["unreadable"]


def test_a_call_is_read_by_the_schema_of_verls_own_tool(play):
    """`repeat` takes a text, so 12 stays one; a tool that the row does not offer says nothing about types."""
    text = (
        "<tool_call>\n<function=repeat>\n<parameter=text>\n12\n</parameter>\n<parameter=times>\n2\n</parameter>\n"
        "</function>\n</tool_call>"
    )
    played = play([text, "ok"], "rest.format=qwen3_coder", desk=None, tools=TOOLS)
    assert [(call["arguments"], call["result"]) for call in played.calls] == [({"text": "12", "times": 2}, "1212")]
    assert "repeat" in [tool["name"] for tool in json.loads(played.fields["rest_tools"])]
    played = play([text, "ok"], "rest.format=qwen3_coder", desk=None, tools=TOOLS, tool_selection=["add"])
    assert played.calls[0]["arguments"] == {"text": 12, "times": 2}
