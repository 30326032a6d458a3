"""`user: llm`: a model behind an OpenAI-compatible endpoint plays the user of a trajectory, from a script.

The setting is that of tau-bench (arXiv 2406.12045): the user knows the script, sees what the policy says but neither
its calls nor their results, and ends the dialogue with a mark. Requests are seeded by the number of the message: one
dialogue has one continuation, as far as the endpoint keeps seeds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT
from rest_verl.rollout.environment import Message
from rest_verl.rollout.row_arguments import expand, validated
from rest_verl.rollout.safe_text import replace_lone_surrogates, text_of_error
from rest_verl.rollout.waiting import wait_at_most

RULES = """You are the user in a conversation with an assistant. You are a person, not an assistant.
What you want and know:
{script}

Rules:
- Write one message at a time, and nothing but what the user says.
- Tell only what is needed for the next step; do not tell everything at once.
- If you are asked for what your instructions do not say, you do not know it; never make it up.
- Say things in your own words.
- Once all that you want is done, or cannot be done, write {stop} and nothing else."""
_OPENING = "Hello! How can I help you today?"  # what the user answers to where the prompt has no message of the user


@dataclass(frozen=True, config=STRICT)
class UserSettings:
    """The keys of `user_kwargs`.

    Attributes:
        base_url: URL of the endpoint with its path, as in "http://localhost:8000/v1".
        model: name of the model there.
        script: what the user wants, knows and is like.
        stop: mark with which the user ends the dialogue; it is never shown to the policy.
        rules: the system prompt, with {script} and {stop} in it.
        seed: seed of the user's first message; each later one has the next.
        temperature: of the user's sampling.
        max_tokens: maximum length of a message, in tokens.
        seconds: time limit of a message, with all retries.
        api_key: key of the endpoint.
        extra_body: further keys of each request.
    """

    base_url: str
    model: str
    script: str
    stop: str = Field(default="###STOP###", min_length=1)
    rules: str = RULES
    seed: int = 0
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=512, gt=0)
    seconds: float = Field(default=60.0, gt=0)
    api_key: str = "none"
    extra_body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "{script}" not in self.rules:
            raise ValueError("rules has no {script}: the user would not know what to want")


_SETTINGS = TypeAdapter(UserSettings)


class UserFailedError(RuntimeError):
    """The endpoint did not give the user's next message; the text says why."""


class SimulatedUser:
    """The user of one trajectory.

    Attributes:
        numbers: its cost so far: messages, tokens read and written, seconds.
    """

    def __init__(self, **settings: Any):
        """
        Args:
            settings: see `UserSettings`.

        Raises:
            ValueError: keys are missing, unknown or invalid; the message names each.
        """
        self._settings = validated(_SETTINGS, settings, "arguments of the user llm")
        self._conversation: list[Message] = []
        self.numbers = dict.fromkeys(("messages", "prompt_tokens", "completion_tokens", "seconds"), 0.0)

    async def begin(self, prompt: Sequence[Message]) -> list[Message]:
        """Take up a prompt. The user's first message if the prompt has none, else nothing.

        Raises:
            UserFailedError: the endpoint did not give it.
            ValueError: an environment variable of the settings is not set.
        """
        rules = self._settings.rules.replace("{script}", self._settings.script).replace("{stop}", self._settings.stop)
        self._conversation = [{"role": "system", "content": rules}, {"role": "user", "content": _OPENING}]
        said = [message["content"] for message in prompt if message["role"] == "user"]
        if said:
            self._conversation.append({"role": "assistant", "content": said[-1]})
            return []
        first = await self._next_message()
        if first is None:
            raise UserFailedError(f"the user {self._settings.model} ended the dialogue before its first message")
        return first

    async def reply(self, answer: str) -> list[Message] | None:
        """The user's next message to the policy's answer, or None once the user has ended the dialogue.

        Raises:
            UserFailedError: the endpoint did not give it.
        """
        heard = replace_lone_surrogates(answer).strip() or "(the assistant said nothing)"
        self._conversation.append({"role": "user", "content": heard})
        return await self._next_message()

    async def _next_message(self) -> list[Message] | None:
        began = time.monotonic()
        try:
            text = await wait_at_most(self._settings.seconds, self._request())
        except UserFailedError:
            raise
        except Exception as error:
            raise UserFailedError(
                f"the user {self._settings.model} at {self._settings.base_url} did not answer: "
                f"{type(error).__name__}: {text_of_error(error)}"
            ) from error
        finally:
            self.numbers["seconds"] += time.monotonic() - began
        self.numbers["messages"] += 1
        self._conversation.append({"role": "assistant", "content": text})
        return None if self._settings.stop in text else [{"role": "user", "content": text}]

    async def _request(self) -> str:
        settings = self._settings
        completion = await _client(expand(settings.base_url), expand(settings.api_key)).chat.completions.create(
            model=settings.model,
            messages=self._conversation,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=settings.seed + int(self.numbers["messages"]),
            extra_body=settings.extra_body,
        )
        if completion.usage is not None:
            self.numbers["prompt_tokens"] += completion.usage.prompt_tokens
            self.numbers["completion_tokens"] += completion.usage.completion_tokens
        text = completion.choices[0].message.content if completion.choices else None
        if not text or not text.strip():
            raise UserFailedError(f"the user {settings.model} at {settings.base_url} wrote an empty message")
        return text.strip()


def user_of(extra_info: Mapping[str, Any]) -> SimulatedUser | None:
    """The simulated user that a row names; None if it names none.

    Raises:
        ValueError: the row names another user than `llm`, or its arguments are wrong.
    """
    name = extra_info.get("user")
    if name is None:
        return None
    where = f"row with extra_info.index={extra_info.get('index')!r}"
    if name != "llm":
        raise ValueError(f"{where}: extra_info.user={name!r}: the only user is 'llm'; an environment can play one too")
    try:
        settings = json.loads(extra_info.get("user_kwargs") or "{}")
        if not isinstance(settings, dict):
            raise ValueError(f"{settings!r:.100} is no JSON object")
        return SimulatedUser(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: extra_info.user_kwargs: {error}") from error


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Any]] = WeakKeyDictionary()


def _client(base_url: str, api_key: str) -> Any:
    """The client of an endpoint, one for all trajectories of an event loop: its connections are reused."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if (base_url, api_key) not in clients:
        try:
            import openai
        except ImportError as error:
            raise UserFailedError(f"user 'llm' needs the package openai ({error}): pip install 'openai>=2'") from error
        clients[base_url, api_key] = openai.AsyncOpenAI(base_url=base_url, api_key=api_key)
    return clients[base_url, api_key]
