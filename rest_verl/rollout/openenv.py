"""Environment `openenv`: a trajectory acts on a server of OpenEnv, in a session of its own.

The client is that of OpenEnv 0.2.1, the newest that installs next to vLLM: later ones want mcp below 2. It speaks the
protocol of sessions (WebSocket: reset, step), through which rewards come. Its methods block, so each runs in a thread.
A session takes one message at a time, and a reply that nobody waited for would be taken for the next one: after a
message that was given up, the session is over.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT
from rest_verl.rollout.calls import json_arguments
from rest_verl.rollout.environment import Earned, LeftToScorer, Message, Opening, ToolError, register_environment
from rest_verl.rollout.row_arguments import expand, validated
from rest_verl.rollout.safe_text import one_line, replace_lone_surrogates, text_of_error
from rest_verl.rollout.waiting import call_in_thread, wait_at_most

try:
    from openenv.core import GenericEnvClient
    from websockets.exceptions import WebSocketException
except ImportError as error:
    raise ModuleNotFoundError(
        f"environment 'openenv' needs the client of OpenEnv ({error}). Run: pip install 'rest-verl[openenv]'",
        name="openenv",
    ) from error

RETRY_SECONDS = 0.2  # between two attempts at a session while the server has none to give
_LOST = (WebSocketException, OSError, EOFError, TimeoutError)  # of the client, when the connection is gone


@dataclass(frozen=True, config=STRICT)
class OpenEnvSettings:
    """The keys of `environment_kwargs`.

    Attributes:
        url: address of the server.
        reset: arguments of the server's reset, as `seed` or the number of a task.
        action: how the policy acts. `tools`: by calls of the tools that the server lists. `step`: by calls of one tool
            named `step`, whose arguments are the server's action. `answer`: by what it says, which becomes the field
            `answer_field` of the action; the observation is the user's next message, until the episode is done.
        answer_field: field of the action that takes an answer.
        shown: the one field of an observation that the policy reads; None for all, as JSON.
        opens: whether the policy reads the observation of reset, as a message of the user.
        tools: names of the tools that the policy is offered and can call; None for all that the server lists.
        score: what of the rewards of all steps is the score: their sum, or the last that came; or `scorer`, which
            leaves the trajectory to the scorer of the row's data source.
        reward_range: the rewards that are the scores 0 and 1; what lies beyond counts as its end.
        start_seconds: time limit for a session, also while the server has none to give, and for its reset.
        message_seconds: time limit of one message, after which the session is given up; above
            `rest.rollout.call_seconds`, which the policy hears of.
    """

    url: str
    reset: dict[str, Any] = field(default_factory=dict)
    action: Literal["tools", "step", "answer"] = "tools"
    answer_field: str = "message"
    shown: str | None = None
    opens: bool = False
    tools: list[str] | None = None
    score: Literal["sum", "last", "scorer"] = "sum"
    reward_range: tuple[float, float] = (0.0, 1.0)
    start_seconds: float = Field(default=60.0, gt=0)
    message_seconds: float = Field(default=600.0, gt=0)

    def __post_init__(self) -> None:
        low, high = self.reward_range
        if low >= high:
            raise ValueError(f"reward_range={[low, high]}: its first number must be below its second")
        if self.tools is not None and self.action != "tools":
            raise ValueError(f"tools belongs to action 'tools', not to {self.action!r}")


_SETTINGS = TypeAdapter(OpenEnvSettings)


class OpenEnvError(RuntimeError):
    """A server cannot be reached, has no session to give, or has ended a session; the text says which."""


@register_environment("openenv")
class OpenEnvEnvironment:
    """A session with an OpenEnv server."""

    parallel = False

    def __init__(self, **settings: Any):
        """
        Args:
            settings: see `OpenEnvSettings`.

        Raises:
            ValueError: keys are missing, unknown or invalid; the message names each.
        """
        self._settings = validated(_SETTINGS, settings, "arguments of the environment openenv")
        self._client: Any = None
        self._lost: str | None = None  # why the session is over, if it broke
        self._given_up = False  # by the trajectory's own time limit, and not by the server
        self._steps = 0
        self._rewards: list[float] = []
        self._turn_rewards: list[float] = []  # of the steps that are answers
        self._done = False
        self._tools: frozenset[str] = frozenset()
        self._answer = ""

    async def reset(self) -> Opening:
        """Open the session and reset the environment.

        Raises:
            OpenEnvError: the server cannot be reached in time, or refuses; the message says what to do.
            ValueError: a tool of the settings is not there, or an environment variable is not set.
        """
        settings = self._settings
        url = expand(settings.url)
        observation = await self._open(url)
        tools: list[dict[str, Any]] = []
        if settings.action == "tools":
            tools = await self._list_tools()
        elif settings.action == "step":
            tools = [await call_in_thread(_schema_of_step, url, settings.start_seconds)]
        self._tools = frozenset(tool["function"]["name"] for tool in tools)
        messages = [{"role": "user", "content": self._text(observation)}] if settings.opens else []
        return Opening(messages, tools)

    async def call(self, name: str, arguments: dict[str, Any]) -> str | Earned:
        """Take a step. With `score` "sum", its reward is what the call earned."""
        if name not in self._tools:
            raise KeyError(name)
        arguments = json_arguments(arguments)
        if self._settings.action == "step":
            observation, reward = await self._step(arguments)
            text = self._text(observation)
        else:
            observation, reward = await self._step({"type": "call_tool", "tool_name": name, "arguments": arguments})
            text = text_of_tool(observation)
        return Earned(text, self._share(reward)) if self._settings.score == "sum" and reward else text

    async def hear(self, answer: str) -> None:
        self._answer = answer

    async def next_user_turn(self) -> Sequence[Message] | None:
        """The observation of the answer, where answers are actions."""
        if self._settings.action != "answer" or self._done:
            return None
        observation, reward = await self._step({self._settings.answer_field: replace_lone_surrogates(self._answer)})
        self._turn_rewards.append(reward)
        return None if self._done else [{"role": "user", "content": self._text(observation)}]

    async def score(self) -> dict[str, float] | LeftToScorer:
        """The rewards so far, as a share of their range.

        Raises:
            OpenEnvError: the server ended the session, so that nobody knows what the trajectory was worth.
        """
        settings = self._settings
        if self._lost is not None and not self._given_up:
            raise OpenEnvError(self._lost)
        if settings.score == "scorer":
            return LeftToScorer()
        reward = math.fsum(self._rewards) if settings.score == "sum" else (self._rewards or [0.0])[-1]
        low, high = settings.reward_range
        share = min(1.0, max(0.0, (reward - low) / (high - low)))
        return {"score": share, "reward": reward, "steps": float(self._steps), "done": float(self._done)}

    def turn_scores(self) -> list[float]:
        """What each answer earned, where answers are actions and their rewards add up."""
        return [self._share(one) for one in self._turn_rewards] if self._settings.score == "sum" else []

    async def close(self) -> None:
        """End the session."""
        if self._client is not None:
            await call_in_thread(self._client.close)

    async def _open(self, url: str) -> Any:
        """Connect and reset, again while the server has no session to give. The observation of reset."""
        settings = self._settings
        deadline = time.monotonic() + settings.start_seconds
        while True:
            left = max(1.0, deadline - time.monotonic())
            client = self._client = GenericEnvClient(url, left, settings.message_seconds)
            try:
                await call_in_thread(client.connect)
                result = await wait_at_most(left, call_in_thread(client.reset, **settings.reset))
            except (*_LOST, RuntimeError) as error:
                await call_in_thread(client.close)
                # A server without a session to give says so and hangs up, which can be seen first.
                is_full = "CAPACITY_REACHED" in str(error) or isinstance(error, WebSocketException)
                if is_full and time.monotonic() + RETRY_SECONDS < deadline:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                advice = "raise its max_concurrent_envs" if is_full else "start it, or correct url"
                raise OpenEnvError(
                    f"OpenEnv server {settings.url}: {type(error).__name__}: {text_of_error(error)}: {advice}"
                ) from error
            self._done = bool(result.done)
            return result.observation

    async def _step(self, action: dict[str, Any]) -> tuple[Any, float]:
        """The observation and the reward of an action.

        Raises:
            ToolError: the episode is over, or the server refuses the action.
            OpenEnvError: the session is over.
        """
        if self._done:
            raise ToolError("the episode is over: nothing more can be done")
        result = await self._send(action)
        self._done = bool(result.done)
        self._steps += 1
        if result.reward is not None:
            self._rewards.append(float(result.reward))
        return result.observation, float(result.reward or 0.0)

    async def _send(self, action: dict[str, Any]) -> Any:
        if self._lost is not None:
            raise OpenEnvError(self._lost)
        try:
            return await call_in_thread(self._client.step, action)
        except asyncio.CancelledError:
            self._lost, self._given_up = "this session was given up after a call that took too long", True
            raise
        except _LOST as error:
            self._lost = f"the server ended this session ({type(error).__name__})"
            raise OpenEnvError(self._lost) from error
        except RuntimeError as error:  # "Server error: ... (code: ...)", after which the session continues
            raise ToolError(one_line(str(error))) from error

    async def _list_tools(self) -> list[dict[str, Any]]:
        result = await self._send({"type": "list_tools"})
        listed = {tool["name"]: tool for tool in result.observation.get("tools", ())}
        wanted = listed if self._settings.tools is None else self._settings.tools
        if missing := [name for name in wanted if name not in listed]:
            raise ValueError(
                f"tools: the OpenEnv server has no {', '.join(missing)}; it has {', '.join(listed) or 'none'}"
            )
        if not listed:
            raise ValueError("the OpenEnv server lists no tools: set action to 'step' or 'answer'")
        return [
            _schema(name, listed[name].get("description") or "", listed[name].get("input_schema") or {})
            for name in wanted
        ]

    def _text(self, observation: Any) -> str:
        """What the policy reads of an observation; a field that it does not have is empty."""
        shown = observation.get(self._settings.shown, "") if self._settings.shown is not None else observation
        return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)

    def _share(self, reward: float) -> float:
        low, high = self._settings.reward_range
        return reward / (high - low)


def text_of_tool(observation: Mapping[str, Any]) -> str:
    """What the policy reads of a tool's result: its texts, or the value as JSON.

    Raises:
        ToolError: the tool failed.
    """
    if error := observation.get("error"):
        raise ToolError(one_line(str(error.get("message", error))))
    result = observation.get("result")
    if isinstance(result, Mapping) and isinstance(result.get("content"), list):
        blocks = [block if isinstance(block, Mapping) else {} for block in result["content"]]
        text = "\n".join(block.get("text") or f"[{block.get('type', 'block')} not shown]" for block in blocks)
        if result.get("is_error") or result.get("isError"):
            raise ToolError(one_line(text))
        return text
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _schema_of_step(url: str, seconds: float) -> dict[str, Any]:
    """The server's action as the schema of a tool `step`."""
    address = re.sub("^ws", "http", url.rstrip("/")) + "/schema"
    try:
        with urllib.request.urlopen(address, timeout=seconds) as reply:
            action = dict(json.load(reply)["action"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OpenEnvError(f"{address} has no schema of the server's action: {text_of_error(error)}") from error
    description = str(action.pop("description", "") or "Take a step in the environment.")
    action["properties"] = {name: one for name, one in action.get("properties", {}).items() if name != "metadata"}
    return _schema("step", description, action)


def _schema(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": dict(parameters)}}
