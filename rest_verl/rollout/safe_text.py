"""Text of tools and users, made safe for the chat template.

A tokenizer matches special tokens in plain text too, so `<|im_end|>` in a tool's result would end its message, and the
text after it could speak as the user or the assistant. One space breaks up such text: the model can still read it, and
the tokenizer makes no control token of it. Tags that are not special tokens (`<tool_call>`) stay unchanged: they
control nothing in a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
SafeText = Callable[[str], str]


def safe_text(tokenizer: Any) -> SafeText:
    """Return a function that breaks up the special tokens of this Hugging Face tokenizer in any text.

    It also replaces lone surrogates, which no tokenizer accepts, with U+FFFD.
    """
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    special |= set(tokenizer.all_special_tokens)
    longest_first = sorted(filter(None, special), key=len, reverse=True)
    if not longest_first:
        return replace_lone_surrogates
    pattern = re.compile("|".join(map(re.escape, longest_first)))

    def make_safe(text: str) -> str:
        return pattern.sub(_break_up, replace_lone_surrogates(text))

    return make_safe


def safe_message(message: Message, make_safe: SafeText) -> Message:
    """A copy of a message with safe text; of content in several parts, only the text changes."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": make_safe(content)}
    if isinstance(content, list):
        return {**message, "content": [_safe_part(part, make_safe) for part in content]}
    return dict(message)


def cut(text: str, length: int) -> tuple[str, bool]:
    """The first `length` characters of a text, with a remark if it was cut; and whether it was."""
    if len(text) <= length:
        return text, False
    return f"{text[:length]}\n[cut here: the first {length:,} of {len(text):,} characters]", True


def text_of_error(error: BaseException) -> str:
    """The first line of an error's text, shortened."""
    try:
        return first_line(str(error))
    except Exception as unreadable:  # raised by the error's own __str__
        return f"(its text cannot be read: {type(unreadable).__name__})"


def first_line(text: str, length: int = 500) -> str:
    """The first line of a text, cut to `length` characters."""
    line = text.lstrip()[: length + 1].partition("\n")[0]
    return line if len(line) <= length else line[:length] + "..."


def one_line(text: str, length: int = 2000) -> str:
    """The beginning of a text in one line, for an error of which the model reads the first line."""
    return " ".join(text[:length].split())


def _safe_part(part: Any, make_safe: SafeText) -> Any:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {**part, "text": make_safe(part["text"])}
    return part


def _break_up(token: re.Match[str]) -> str:
    """Break up the text of a special token so that the tokenizer no longer matches it."""
    text = token.group()
    return f"{text[0]} {text[1:]}" if len(text) > 1 else "\ufffd"


def replace_lone_surrogates(text: str) -> str:
    """Text with every lone surrogate replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
