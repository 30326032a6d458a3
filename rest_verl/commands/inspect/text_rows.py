"""Texts that no run recorded: a JSON-lines file with a response in each line.

    {"response": "<think>...", "prompt": "...", "score": 0.5, "data_source": "..."}
    {"response": [{"role": "assistant", "content": "<tool_call>..."}, {"role": "tool", "content": "..."}, ...]}

`response` is text that the model wrote, or messages; those of the role assistant are the model's, as it wrote them,
with tags and calls. `output` and `input`, the names in the files of verl's trainer.rollout_data_dir, will do for
`response` and `prompt`. `prompt` is text or messages; lines with the same prompt are one group. Only `response` must
be there, and further keys are passed over.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROLES = ("assistant", "system", "tool", "user")


@dataclass(frozen=True)
class Message:
    """What one party said."""

    role: str
    content: str


@dataclass(frozen=True)
class TextRow:
    """One line of the file.

    Attributes:
        messages: of the response, at least one.
        prompt: its text; empty where the line has none.
        score, data_source: None where the line has none.
    """

    messages: tuple[Message, ...]
    prompt: str
    score: float | None
    data_source: str | None


def read_rows(path: Path) -> list[TextRow]:
    """Read a file of texts, blank lines passed over.

    Raises:
        ValueError: a line is not what is expected, with its number; or there is none.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(_row(json.loads(line.decode("utf-8"))))
            except (ValueError, RecursionError) as error:
                # also what json and the decoder raise
                raise ValueError(f"{path}:{number}: {error}") from None
    if not rows:
        raise ValueError(f'{path}: no lines; each must be an object such as {{"response": "..."}}')
    return rows


def _row(line: Any) -> TextRow:
    if not isinstance(line, dict):
        raise ValueError(f'{line!r:.80} is no object; expected one such as {{"response": "..."}}')
    key = _one_of(line, "response", "output")
    if key is None:
        keys = ", ".join(map(str, line)) or "none"
        raise ValueError(f"no key response; expected the model's text under it, and the keys are: {keys:.200}")
    prompt_key = _one_of(line, "prompt", "input")
    score = line.get("score")
    if score is not None and not _is_number(score):
        raise ValueError(f"score={score!r:.80} must be a number or null")
    source = line.get("data_source")
    if source is not None and not isinstance(source, str):
        raise ValueError(f"data_source={source!r:.80} must be text or null")
    prompt = "" if prompt_key is None else _prompt(prompt_key, line[prompt_key])
    return TextRow(_response(key, line[key]), prompt, None if score is None else float(score), source)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(line: dict[str, Any], name: str, verls: str) -> str | None:
    """The one of two names for the same that a line has."""
    if name in line and verls in line:
        raise ValueError(f"both {name} and {verls}, which stand for the same: leave one out")
    return next((key for key in (name, verls) if key in line), None)


def _response(key: str, value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("assistant", value),)
    messages = _messages(key, value)
    if not any(message.role == "assistant" for message in messages):
        raise ValueError(f"{key}: no message of the role assistant, so nothing that the model wrote")
    for place, (one, other) in enumerate(pairwise(messages), start=1):
        if one.role == other.role == "assistant":
            raise ValueError(f"{key}[{place}]: two messages of the assistant in a row: join them into one")
    return messages


def _prompt(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    # how the model's own template renders them is not known here
    return "\n".join(f"{message.role}:\n{message.content}" for message in _messages(key, value))


def _messages(key: str, value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key}={value!r:.80} must be text or a list of messages")
    found = []
    for place, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise ValueError(
                f"{key}[{place}]: {message!r:.80} must be a message with role and content, both text; calls stand in "
                "the content, as the model wrote them"
            )
        if message.get("role") not in ROLES:
            raise ValueError(f"{key}[{place}].role={message.get('role')!r:.80}: allowed: {', '.join(ROLES)}")
        found.append(Message(message["role"], message["content"]))
    return tuple(found)
