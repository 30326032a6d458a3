"""Right answers with reasoning to BFCL's questions, in any wire format: what a supervised start imitates."""

from __future__ import annotations

import json

from parts import text_of
from reasoning import Call, reasoning, refusal
from render import RENDERERS
from right_answers import right_answer

from rest_verl.core.tool_calls import Kind
from rest_verl.data.rows import Row
from rest_verl.formats import get_format


def reasoned_answer(row: Row, format: str) -> str:
    """Return one right answer to a row of BFCL in any format, with reasoning that follows from the question.

    Args:
        row: a row of `rest-verl data bfcl`.
        format: name of the wire format.

    Raises:
        ValueError: the format has no renderer here.
    """
    if format not in RENDERERS:
        raise ValueError(f"format {format!r} cannot be written here; those that can: {', '.join(RENDERERS)}")
    truth = json.loads(row["reward_model"]["ground_truth"])
    calls = due_calls(row)
    request, seed = question_of(row), row["extra_info"]["id"]
    thought = reasoning(request, truth["functions"], calls, seed)
    answer = "" if calls else refusal(request, seed)
    return text_of(RENDERERS[format](_spaced(thought, format), calls, answer)).decode()


def due_calls(row: Row) -> list[Call]:
    """The calls of a row's right answer; none if no tool does what is asked."""
    rlla, text = get_format("rlla"), right_answer(row).encode()
    return [(call.name, dict(call.arguments)) for call in rlla.read_calls(text, rlla.parse(text), {}) if call]


def due_kind(row: Row) -> Kind:
    """What a legal response to the row holds."""
    calls = bool(due_calls(row))
    return Kind(calls=calls, answer=not calls)


def question_of(row: Row) -> str:
    """The user's words: all messages of the user, without the tags of the rlla format."""
    text = " ".join(str(message["content"]) for message in row["prompt"] if message["role"] == "user")
    return text.replace("**Dialogue Records History**", "").replace("<user>", "").replace("</user>", "").strip()


def _spaced(thought: str, format: str) -> str:
    """ToolRL's rows have a space on either side of the reasoning."""
    return f" {thought} " if format == "rlla" else thought
