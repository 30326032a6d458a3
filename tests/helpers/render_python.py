"""Turns in the formats with notations of their own for values, Python's and Gemma's, as labelled parts."""

from typing import Any

from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Call, Part, to_json


def render_pythonic(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn; a part that is empty is left out. An answer beside calls stands behind them, as what a model may write
    though it must not."""
    parts = [(b"<think>", FORMAT), (thought.encode(), THINK), (b"</think>", FORMAT)] if thought else []
    if calls:
        parts += [(b"\n\n" if thought else b"", OTHER), (b"[", FORMAT)]
        for number, (name, arguments) in enumerate(calls):
            written = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            parts += [(b",", FORMAT), (b" ", OTHER)] if number else []
            parts += [(name.encode(), NAME), (f"({written})".encode(), ARGS)]
        parts += [(b"]", FORMAT)]
    # white space before an answer is part of the stretch outside of all blocks, which is the answer
    return [*parts, (b"\n" + answer.encode(), RESPONSE)] if answer else parts


def render_gemma4(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, one block a call; a part that is empty is left out."""
    parts = []
    if thought:
        parts += [(b"<|channel>thought", FORMAT), (f"\n{thought}\n".encode(), THINK), (b"<channel|>", FORMAT)]
    parts += [(answer.encode(), RESPONSE)]
    for name, arguments in calls:
        parts += [(b"<|tool_call>", FORMAT), (b"call:", FORMAT), (name.encode(), NAME)]
        parts += [(gemma_value(arguments), ARGS), (b"<tool_call|>", FORMAT)]
    return parts


def gemma_value(value: Any) -> bytes:
    """A value in Gemma's notation."""
    if isinstance(value, str):
        return b'<|"|>' + value.encode() + b'<|"|>'
    if isinstance(value, dict):
        return b"{" + b",".join(key.encode() + b":" + gemma_value(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(gemma_value, value)) + b"]"
    return to_json(value)
