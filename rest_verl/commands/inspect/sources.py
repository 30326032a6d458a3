"""Find record files, choose the steps to show, and read files of texts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rest_verl.core.tool_calls import ToolSchemas
from rest_verl.formats.tools import read_tools
from rest_verl.records.schema import read_step, step_files

MOST_STEPS = 12


def find_steps(paths: Iterable[Path]) -> dict[int, Path]:
    """The record files at some paths, by step in ascending order.

    Args:
        paths: record files, folders of record files, and run folders with one such folder in them.

    Raises:
        ValueError: a path has no records, or several folders of them, or two files have the same step.
    """
    found: dict[int, Path] = {}
    for path in paths:
        for step, file in _steps_at(path).items():
            if step in found:
                raise ValueError(
                    f"step {step} is both in {found[step]} and in {file}: name one of them, or two folders to see them"
                    " side by side"
                )
            found[step] = file
    return dict(sorted(found.items()))


def choose_steps(available: Sequence[int], wanted: str | None) -> list[int]:
    """The steps to show, in ascending order.

    Args:
        available: the steps with records, in ascending order.
        wanted: steps separated by commas, or `all`; None for at most `MOST_STEPS`, evenly spaced, including the first
            and the last.

    Raises:
        ValueError: a wanted step is not available.
    """
    if wanted == "all" or (wanted is None and len(available) <= MOST_STEPS):
        return list(available)
    if wanted is None:
        return [available[round(place * (len(available) - 1) / (MOST_STEPS - 1))] for place in range(MOST_STEPS)]
    chosen = step_numbers("--steps", wanted)
    for step in chosen:
        if step not in available:
            raise ValueError(f"--steps {wanted}: there is no step {step}; there are {abbreviate(available)}")
    return chosen


def step_numbers(option: str, given: str) -> list[int]:
    """Parse an option's comma-separated steps, in ascending order; ValueError unless all are whole numbers from 1."""
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{option} {given}: must be step numbers from 1 separated by commas, such as 1,100,300")
    return sorted({int(part) for part in parts})


def _steps_at(path: Path) -> dict[int, Path]:
    if path.is_file():
        return {read_step(path).meta.step: path}
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder. Give a run's folder, its rest.dump_dir or a record file")
    if steps := step_files(path):
        return steps
    folders = sorted({file.parent for file in path.rglob("step_*.parquet") if step_files(file.parent)})
    if len(folders) == 1:
        return step_files(folders[0])
    if folders:
        raise ValueError(f"{path}: records of several runs; name one: {', '.join(map(str, folders))}")
    raise ValueError(f"{path}: no step_*.parquet at or below it. A run with rest.dump_dir=... writes them")


def abbreviate(steps: Sequence[int], most: int = 20) -> str:
    """The first steps, and how many more there are."""
    shown = [*map(str, steps[:most])]
    return ", ".join(shown) + (f" and {len(steps) - most} more, up to {steps[-1]}" if len(steps) > most else "")


ROLES = ("assistant", "system", "tool", "user")


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class TextRow:
    """One line of a file of texts.

    Attributes:
        messages: the response's messages, at least one.
        prompt: the prompt's text; empty if the line has none.
        score, data_source: None if the line has none.
        tools: the tools that the model was offered; none if the line has none.
    """

    messages: tuple[Message, ...]
    prompt: str
    score: float | None
    data_source: str | None
    tools: ToolSchemas = field(default_factory=dict)


def read_rows(path: Path) -> list[TextRow]:
    """Read a file of texts, skipping blank lines.

    Raises:
        ValueError: a line is invalid, with its number; or the file has no lines.
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
        raise ValueError(f'{line!r:.80} is not an object; expected one such as {{"response": "..."}}')
    key = _one_of(line, "response", "output")
    if key is None:
        keys = ", ".join(map(str, line)) or "none"
        raise ValueError(f"no key response, which must hold the model's text; the keys are: {keys:.200}")
    prompt_key = _one_of(line, "prompt", "input")
    score = line.get("score")
    if score is not None and not _is_number(score):
        raise ValueError(f"score={score!r:.80} must be a number or null")
    source = line.get("data_source")
    if source is not None and not isinstance(source, str):
        raise ValueError(f"data_source={source!r:.80} must be text or null")
    prompt = "" if prompt_key is None else _prompt(prompt_key, line[prompt_key])
    tools = read_tools(line.get("tools"))
    return TextRow(_response(key, line[key]), prompt, None if score is None else float(score), source, tools)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(line: dict[str, Any], name: str, verls: str) -> str | None:
    """Which of two synonymous keys a line has, ours or verl's; None if neither."""
    if name in line and verls in line:
        raise ValueError(f"both {name} and {verls}, which mean the same: keep one")
    return next((key for key in (name, verls) if key in line), None)


def _response(key: str, value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("assistant", value),)
    messages = _messages(key, value)
    if not any(message.role == "assistant" for message in messages):
        raise ValueError(f"{key}: no message with role assistant, so no text by the model")
    for place, (one, other) in enumerate(pairwise(messages), start=1):
        if one.role == other.role == "assistant":
            raise ValueError(f"{key}[{place}]: two assistant messages in a row: join them into one")
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
                f"{key}[{place}]: {message!r:.80} must be a message with role and content, both text; calls belong in "
                "the content, as the model wrote them"
            )
        if message.get("role") not in ROLES:
            raise ValueError(f"{key}[{place}].role={message.get('role')!r:.80}: allowed: {', '.join(ROLES)}")
        found.append(Message(message["role"], message["content"]))
    return tuple(found)
