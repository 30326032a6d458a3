"""An OpenAI-compatible endpoint, such as `vllm serve`: chat completions whose text is the model's unchanged output."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from rest_verl.rollout.environment import Message
from rest_verl.rollout.safe_text import first_line

RETRIES = 8  # about a minute of waiting in total
TIMEOUT = 3600.0  # seconds; a long answer after a long queue is not a failure
LOOK = 20.0  # seconds for the list of models, which no queue holds up

# A format's markers may be special tokens of the model, which servers drop from the text by default.
_KEEP_SPECIAL_TOKENS = {"skip_special_tokens": False, "spaces_between_special_tokens": False}


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled.

    Attributes:
        temperature, top_p: sampling parameters; temperature 0 is greedy decoding.
        max_tokens: maximum number of tokens per answer.
        stop: strings that end an answer.
        extra_body: extra keys of the request, which override the others; null removes a key.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 4096
    stop: Sequence[str] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def body(self, seed: int) -> dict[str, Any]:
        """The keys of a request, except for model and messages."""
        own = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop) or None,
            "seed": seed,
            **_KEEP_SPECIAL_TOKENS,
        }
        return {key: value for key, value in (own | dict(self.extra_body)).items() if value is not None}


@dataclass(frozen=True)
class Reply:
    """The reply to a request; its fields are those of `eval.answers.Answer`."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None


_EXAMPLE_URL = "http://localhost:8000/v1"


def check_url(base_url: str) -> None:
    """Raise ValueError for what is no URL of an endpoint: requests to it would be retried for a minute."""
    if not _is_url(base_url):
        meant = f"http://{base_url}"
        looks_like_a_host = "://" not in base_url and any(mark in base_url for mark in (".", ":")) and _is_url(meant)
        hint = meant if looks_like_a_host else _EXAMPLE_URL
        raise ValueError(f"--base-url {base_url}: not a URL: give one such as {hint}")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0  # a port that is no number raises
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and not any(map(str.isspace, text))


async def find_model(base_url: str, model: str | None, api_key: str = "none") -> str:
    """The name of the model to ask, from the endpoint's list of models. A server that does not answer is not awaited.

    Args:
        base_url: URL with its path, as in "http://localhost:8000/v1".
        model: its name, which the list need not have; None for the only one in the list.
        api_key: the endpoint's key; vLLM accepts any.

    Raises:
        ValueError: it is no URL, or one of something else; or no model was given, and it serves none or several.
        ConnectionError: nothing answers there.
    """
    check_url(base_url)
    async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=LOOK) as client:
        try:
            page = await client.models.list()
            served = sorted(one.id for one in page.data)
        except openai.APIConnectionError as error:
            raise ConnectionError(
                f"--base-url {base_url}: nothing answers there: {_reason(error)}. Start the server and wait until it "
                "is ready (vllm serve MODEL), or give its URL"
            ) from error
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            # with another status, or with what is no list of models
            if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
                raise ValueError(f"{base_url} refuses the key: {_reason(error)}: give its --api-key-file") from error
            if model is not None:
                return model  # some endpoints have no list
            said = _reason(error) if isinstance(error, openai.OpenAIError) else "no JSON"
            raise ValueError(
                f"--base-url {base_url}: no list of models there ({said}). An OpenAI-compatible URL looks like "
                f"{_EXAMPLE_URL}; if it is one, name the model with --model"
            ) from error
    if model is None and len(served) != 1:
        raise ValueError(f"{base_url} serves {', '.join(served) or 'no model'}: name one with --model")
    return served[0] if model is None else model


class Endpoint:
    """One model of an endpoint. An async context manager, which closes its connections on exit."""

    def __init__(self, base_url: str, model: str, sampling: Sampling, api_key: str = "none"):
        """
        Args:
            base_url: URL with its path, as in "http://localhost:8000/v1".
            model: its name at the endpoint, from `find_model`.
            sampling: how to sample all answers.
            api_key: the endpoint's key; vLLM accepts any.
        """
        self._base_url = base_url
        self._model = model
        self._sampling = sampling
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=RETRIES, timeout=TIMEOUT)
        self._checking = asyncio.Lock()
        self._settings_accepted = False

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def ask(self, messages: Sequence[Message], seed: int) -> Reply:
        """Request the next assistant message.

        Requests to a busy or unreachable endpoint are retried for about a minute. If a request is refused but a plain
        one with the same settings is not (the prompt is too long, or the chat template cannot render it), the reply
        has an `error`.

        Raises:
            ConnectionError: the endpoint cannot be reached, or fails.
            ValueError: it refuses the settings, or parses calls or reasoning out of its answers.
        """
        try:
            return await self._request(messages, seed)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
            await self._check_settings(seed)
            return Reply("", error=_reason(refused))
        except openai.OpenAIError as error:
            raise self._failure(error) from error

    async def _check_settings(self, seed: int) -> None:
        """Check once whether the endpoint refuses the settings themselves."""
        async with self._checking:
            if self._settings_accepted:
                return
            try:
                await self._request([{"role": "user", "content": "Hello"}], seed)
            except openai.OpenAIError as error:
                raise self._failure(error) from error
            self._settings_accepted = True

    async def _request(self, messages: Sequence[Message], seed: int) -> Reply:
        given: Any = list(messages)
        completion = await self._client.chat.completions.create(
            model=self._model, messages=given, extra_body=self._sampling.body(seed)
        )
        if not getattr(completion, "choices", None):  # another kind of server, or an error sent with a success status
            raise ValueError(f"{self._base_url} sent no chat completion but {first_line(str(completion))}")
        choice, usage = completion.choices[0], completion.usage
        extra = choice.message.model_extra or {}
        if choice.message.tool_calls or extra.get("reasoning") or extra.get("reasoning_content"):
            raise ValueError(
                f"{self._base_url} parses calls or reasoning out of its answers, so the model's output cannot be "
                "scored: start the server without a tool parser and without a reasoning parser"
            )
        return Reply(
            choice.message.content or "",
            choice.finish_reason,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
        )

    def _failure(self, error: openai.OpenAIError) -> ValueError | ConnectionError:
        """The error to raise instead of the library's."""
        if isinstance(error, openai.APIStatusError) and error.status_code < 500 and error.status_code != 429:
            return ValueError(
                f"{self._base_url} refuses requests for model {self._model!r} (status {error.status_code}): "
                f"{_reason(error)}"
            )
        return ConnectionError(
            f"{self._base_url} did not answer {RETRIES + 1} requests: {_reason(error)}. Is the server up, and is "
            "--base-url right? Earlier answers are kept: rerun the same command to resume"
        )


def _reason(error: openai.OpenAIError) -> str:
    """The endpoint's error message on one line."""
    body = error.body if isinstance(error, openai.APIError) else None
    message = body.get("message") if isinstance(body, dict) else None
    cause = f" ({first_line(str(error.__cause__))})" if error.__cause__ else ""
    return first_line(" ".join(message.split())) if isinstance(message, str) else first_line(str(error)) + cause
