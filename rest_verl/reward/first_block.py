"""A response as the code of ToolRL and ResT reads it: one text of the format rlla, with the first block of calls.

Both look for tags in the text, where the format's parser (`formats.rlla`) reads blocks. A turn begins after the last
assistant marker of a chat template and ends at the next end-of-turn marker, whoever wrote them; white space around it
does not count. Of this text

- the calls are the lines between the first `<tool_call>` and the next `</tool_call>`, even inside of reasoning, each
  of them JSON. Anything else, such as a code fence, a comment, a blank line or a missing tag, voids all calls.
- the format is ToolRL's pattern: reasoning, then the due blocks, each on lines of its own and nothing else; the tags
  of a due block occur once in the whole text, reasoning and arguments included.
- the words of reasoning are those from the last `<think>` to the next `</think>`; 0 if either tag is missing.

All else that is reported of a response (`acc`, number of calls, whether they can be read) is the parser's reading, the
same under all rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from rest_verl.core.tool_calls import Kind
from rest_verl.formats.parse.open_json import open_object
from rest_verl.formats.rlla import RLLA
from rest_verl.reward.response import Response

# Text around the response in the chat templates that ToolRL reads, those of Qwen and Llama 3.
_CHAT_MARKERS = (
    ("<|im_start|>assistant", "<|im_end|>"),
    ("<|start_header_id|>assistant<|end_header_id|>", "<|eot_id|>"),
)

_CUT_CLOSING = re.compile(r"\s*<(?:/[a-z_]*)?\Z")

_THINK = r"<think>.*?</think>"
_CALLS = r"\n<tool_call>\n.*?\n</tool_call>"
_ANSWER = r"\n<response>.*?</response>"


class FirstBlockResponse(Response):
    """A response whose legality, written calls and words of reasoning are those that the published code sees."""

    @cached_property
    def written(self) -> Sequence[Any]:
        """The lines of calls of all turns, as JSON values of any kind; empty if any line is no JSON."""
        lines = [line for text in self._cut for line in _lines_of_calls(text)]
        try:
            return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return []

    def reasoning_words(self) -> int:
        return sum(_words(text) for text in self._cut)

    def _turn_is_legal(self, number: int, kind: Kind) -> bool:
        return _has_format(self._cut[number], kind)

    @cached_property
    def _cut(self) -> list[str]:
        """What the published code sees of each turn."""
        return [_cut_chat(text.decode("utf-8", "replace")) for text in self.texts]


class OpenFirstBlockResponse(FirstBlockResponse):
    """A response that may go on: of a first block that is open in its last turn, the lines that have ended count as in
    a closed one, and the call in its last line as far as it is written."""

    @cached_property
    def written(self) -> Sequence[Any]:
        text = self._cut[-1]
        _, opening, block = text.partition("<tool_call>")
        if not opening or "</tool_call>" in text:
            return super().written
        before = [line for text in self._cut[:-1] for line in _lines_of_calls(text)]
        *ended, last = _CUT_CLOSING.sub("", block.partition("<tool_call>")[0]).lstrip().split("\n")
        try:
            values = [json.loads(line) for line in [*before, *ended]]
        except (ValueError, RecursionError):
            return []
        with suppress(ValueError, RecursionError):
            return [*values, json.loads(last)]
        call = open_object(last.encode("utf-8", "surrogatepass"), b"parameters")
        if call.broken:
            return []
        return values if call.name is None else [*values, {"name": call.name, "parameters": call.arguments}]


def first_block_of(response: Response, is_open: bool = False) -> Response:
    """The response as the published code reads it, of one `is_open` that may go on; unchanged in another format than
    rlla, which that code cannot read."""
    if response.wire_format is not RLLA:
        return response
    kind = OpenFirstBlockResponse if is_open else FirstBlockResponse
    return kind(response.texts, response.turns, response.wire_format, response.calls)


def _cut_chat(text: str) -> str:
    for begin, end in _CHAT_MARKERS:
        text = text.split(begin)[-1].split(end)[0]
    return text.strip()


def _lines_of_calls(text: str) -> list[str]:
    """The lines of the first block; a line that is no JSON if it is not closed."""
    _, opening, rest = text.partition("<tool_call>")
    if not opening:
        return []
    if "</tool_call>" not in text:
        return [""]
    block, _, _ = rest.partition("</tool_call>")
    return block.partition("<tool_call>")[0].strip().split("\n")


def _has_format(text: str, kind: Kind) -> bool:
    due = ["tool_call"] * kind.calls + ["response"] * kind.answer
    if any(text.count(f"<{tag}>") != 1 or text.count(f"</{tag}>") != 1 for tag in due):
        return False
    pattern = _THINK + _CALLS * kind.calls + _ANSWER * kind.answer
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def _words(text: str) -> int:
    if "<think>" not in text or "</think>" not in text:
        return 0
    return len(text.split("<think>")[-1].split("</think>")[0].split())
