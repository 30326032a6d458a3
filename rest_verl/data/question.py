"""The question that a prompt asks, by which rows are split: what stays the same in every wording of a prompt."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# How ToolRL's prompts, and ours in the format rlla, pack a dialogue into one message.
_PACKED = re.compile(r"\*+Dialogue Records History\*+\s*<user>(.*?)</user>", re.DOTALL)


def question_of_prompt(row: Mapping[str, Any]) -> str:
    """Return the opening request of a row's dialogue: its first message that is not the system's.

    System messages hold tools and the wire format, later messages what follows from the request: a prompt from later
    in a dialogue has the question of the whole dialogue. A prompt of system messages alone is its own question.

    Args:
        row: "prompt" is a list of {"role", "content"}.

    Raises:
        ValueError: the row has no such prompt.
    """
    prompt = row.get("prompt")
    messages = [] if prompt is None or isinstance(prompt, str | Mapping) else list(prompt)
    if not messages or not all(isinstance(message, Mapping) and "content" in message for message in messages):
        raise ValueError(f"'prompt' must be a list of messages with 'content', got {prompt!r:.200}")
    opening = next((message for message in messages if message.get("role") != "system"), None)
    if opening is None:
        return plain_question("\n".join(str(message["content"]) for message in messages))
    text = str(opening["content"])
    packed = _PACKED.match(text.lstrip())
    return plain_question(packed[1] if packed else text)


def plain_question(text: str) -> str:
    """The text without what does not make another question: case, white space, compatible spellings of a letter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
