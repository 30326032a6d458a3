"""An OpenAI-compatible endpoint, as `vllm serve` gives: chat completions whose text is what the model wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

try:
    import openai
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("openai is not installed. Run: pip install 'rest-verl[eval]'", name="openai") from error

from rest_verl.rollout.environment import Message
from rest_verl.rollout.safe_text import first_line

RETRIES = 8  # about a minute of waiting in all
TIMEOUT = 3600.0  # seconds; a long answer behind a long queue is no failure

# What a format writes may be special tokens of the model, which servers leave out of the text unless told otherwise.
_AS_WRITTEN = {"skip_special_tokens": False, "spaces_between_special_tokens": False}


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature, top_p: of sampling; 0 always takes the likeliest token.
        max_tokens: of one answer.
        stop: texts that end an answer.
        extra_body: further keys of the request, over all that is sent otherwise; null leaves a key out.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 4096
    stop: Sequence[str] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def body(self, seed: int) -> dict[str, Any]:
        """The keys of a request but for model and messages."""
        own = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop) or None,
            "seed": seed,
            **_AS_WRITTEN,
        }
        return {key: value for key, value in (own | dict(self.extra_body)).items() if value is not None}


@dataclass(frozen=True)
class Reply:
    """What came of a request; the fields are those of `eval.answers.Answer`."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None


class Endpoint:
    """One model of an endpoint. Used as an async context manager, which closes its connections."""

    def __init__(self, base_url: str, model: str | None, sampling: Sampling, api_key: str = "none"):
        """
        Args:
            base_url: with its path, as in "http://localhost:8000/v1".
            model: as the endpoint names it; None for the only one that it serves, which `named_model` asks for.
            sampling: of all answers.
            api_key: what the endpoint asks for; vLLM takes any.
        """
        self._base_url = base_url
        self._model = model
        self._sampling = sampling
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=RETRIES, timeout=TIMEOUT)
        self._checking = asyncio.Lock()
        self._settings_are_fine = False

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def named_model(self) -> str:
        """The name of the model.

        Raises:
            ValueError: none was given, and the endpoint serves none or several.
            ConnectionError: the endpoint cannot be reached.
        """
        if self._model is None:
            try:
                served = sorted([model.id async for model in self._client.models.list()])
            except openai.OpenAIError as error:
                raise self._failure(error) from error
            if len(served) != 1:
                raise ValueError(f"{self._base_url} serves {', '.join(served) or 'no model'}: name one with --model")
            self._model = served[0]
        return self._model

    async def ask(self, messages: Sequence[Message], seed: int) -> Reply:
        """Ask for the next message of the assistant.

        Busy or unreachable endpoints are asked again for about a minute. A request that is refused while a plain one
        with the same settings is not (its prompt is too long, or the chat template cannot show it) gives a reply with
        `error`.

        Raises:
            ConnectionError: the endpoint cannot be reached, or fails.
            ValueError: it refuses the settings, or takes answers apart before it sends them.
        """
        try:
            return await self._request(messages, seed)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
            await self._check_settings(seed)
            return Reply("", error=_reason(refused))
        except openai.OpenAIError as error:
            raise self._failure(error) from error

    async def _check_settings(self, seed: int) -> None:
        """Find out, once, whether it is the settings that the endpoint refuses."""
        async with self._checking:
            if self._settings_are_fine:
                return
            try:
                await self._request([{"role": "user", "content": "Hello"}], seed)
            except openai.OpenAIError as error:
                raise self._failure(error) from error
            self._settings_are_fine = True

    async def _request(self, messages: Sequence[Message], seed: int) -> Reply:
        given: Any = list(messages)
        completion = await self._client.chat.completions.create(
            model=await self.named_model(), messages=given, extra_body=self._sampling.body(seed)
        )
        if not getattr(completion, "choices", None):  # some other server's page, or an error that is sent as a success
            raise ValueError(f"{self._base_url} gives no chat completion but {first_line(str(completion))}")
        choice, usage = completion.choices[0], completion.usage
        extra = choice.message.model_extra or {}
        if choice.message.tool_calls or extra.get("reasoning") or extra.get("reasoning_content"):
            raise ValueError(
                f"{self._base_url} takes calls or reasoning out of the answers, so what the model wrote cannot be "
                "scored: start the server without a tool parser and without a reasoning parser"
            )
        return Reply(
            choice.message.content or "",
            choice.finish_reason,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
        )

    def _failure(self, error: openai.OpenAIError) -> ValueError | ConnectionError:
        """What to raise in place of a library's error."""
        if isinstance(error, openai.APIStatusError) and error.status_code < 500 and error.status_code != 429:
            return ValueError(
                f"{self._base_url} refuses requests for model {self._model!r} (status {error.status_code}): "
                f"{_reason(error)}"
            )
        return ConnectionError(
            f"{self._base_url} gives no answer, asked {RETRIES + 1} times: {_reason(error)}. Is the server up, and "
            "is --base-url right? What was answered so far is kept: the same command goes on from there"
        )


def _reason(error: openai.OpenAIError) -> str:
    """What the endpoint says, on one line."""
    body = error.body if isinstance(error, openai.APIError) else None
    said = body.get("message") if isinstance(body, dict) else None
    cause = f" ({first_line(str(error.__cause__))})" if error.__cause__ else ""
    return first_line(" ".join(said.split())) if isinstance(said, str) else first_line(str(error)) + cause
