"""One line that tells a prompt from the others of its step."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rest_verl.commands.inspect.token_text import in_one_line

LONGEST = 200  # characters
_SHARED = 40  # characters that all prompts begin with, from which on they are left out
# how the chat templates of the wire formats' models open a user's message
_USER = re.compile(
    r"<\|im_start\|>user|<\|start_header_id\|>user<\|end_header_id\|>|<start_of_turn>user|<\|turn>user|\[INST\]"
    r"|<｜User｜>|<\|user\|>|<\|start\|>user<\|message\|>|<\|im_user\|>user<\|im_middle\|>|<\[begin_of_document\]>user"
    r"|<\|begin▁of▁user\|>|^user:?$",
    re.MULTILINE,
)
_END = re.compile(r"<\|[a-z_]+\|>|<end_of_turn>|<turn\|>|\[/INST\]|<｜Assistant｜>|</s>|^assistant:?$", re.MULTILINE)


def headlines(prompts: Sequence[str]) -> list[str]:
    """The beginning of the last user's message of each prompt, without what all of them begin with.

    Args:
        prompts: the rendered prompts of a step, one for each group.

    Returns:
        for each prompt one line of at most `LONGEST` characters; empty for an empty prompt.
    """
    messages = [" ".join(_last_message(prompt).split()) for prompt in prompts]
    shared = _shared_length(min(messages), max(messages)) if len(set(messages)) > 1 else 0
    start = shared if shared >= _SHARED else 0
    return [_short(("… " if start else "") + message[start:]) for message in messages]


def _shared_length(one: str, other: str) -> int:
    """How many characters two different texts have in common at their beginning."""
    differ = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _last_message(prompt: str) -> str:
    """The last user's message; the whole prompt where none is found."""
    found = list(_USER.finditer(prompt))
    message = prompt[found[-1].end() :] if found else prompt
    end = _END.search(message)
    inside = message[: end.start()] if end else message
    return inside if inside.strip() else prompt


def _short(text: str) -> str:
    line = in_one_line(text[: LONGEST + 1])
    return line if len(text) <= LONGEST else f"{line[:LONGEST]}…"
