"""Check ToolRL's training rows (`rlla`) and convert them to verl's layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rest_verl.data.files import read_rows
from rest_verl.data.listed_tools import listed_tools
from rest_verl.data.rows import Row, make_row
from rest_verl.formats.tools import read_tools, tools_text

# alternative names of these fields in ToolRL's raw files
_SYSTEM, _USER = ("system", "instruction"), ("user", "input")


def read_rlla(path: str | Path, on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[Row]:
    """Return ToolRL's rows in verl's layout, with `index` counting through the file.

    Args:
        path: parquet, .json or .jsonl. A row is either {"prompt": [{"role", "content"}, ...], "reward_model":
            {"ground_truth": str}}, optionally with data_source and extra_info, or {"system" or "instruction",
            "user" or "input", "output"}, all text. The ground truth, or output, is in the rlla wire format.
        on_progress: called with the number of rows checked and of all rows.

    Raises:
        ValueError: the file is empty, truncated or of another kind, has no rows, or a row is unusable. The message
            names the file, the first bad row (counted from 0) and what to do.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    rows: list[Row] = []
    problems = []
    given = read_rows(path)
    for index, raw in enumerate(given):
        try:
            rows.append(_row(raw, index))
        except ValueError as error:
            problems.append(f"{path}, row {index}: {error}")
        on_progress(index + 1, len(given))
    if problems:
        others = f" ({len(problems) - 1} more rows have problems.)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}.{others}")
    return rows


def _row(raw: Mapping[str, Any], index: int) -> Row:
    prompt, truth = _from_verl_layout(raw) if "prompt" in raw else _from_three_fields(raw)
    if "<tool_call>" not in truth and "<response>" not in truth:
        raise ValueError(
            f"the ground truth has neither <tool_call> nor <response>, so no answer could be right: {truth!r:.80}; "
            "wrap the expected calls or answer in these tags, or drop the row"
        )
    data_source = _text(raw, "data_source") or "rlla"
    id = _text(raw.get("extra_info"), "id") or f"{data_source}_{index}"
    return make_row(data_source, index, id, "train", prompt, truth, tools=_tools(raw, prompt))


def _tools(raw: Mapping[str, Any], prompt: list[dict[str, str]]) -> str | None:
    """The tools of a row: those in its extra_info, or those that its system message lists."""
    info = raw.get("extra_info")
    given = info.get("tools") if isinstance(info, Mapping) else None
    return tools_text(read_tools(given)) if given is not None else listed_tools(prompt)


def _text(fields: Any, name: str) -> str | None:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if isinstance(value, str) else None


def _from_verl_layout(raw: Mapping[str, Any]) -> tuple[list[dict[str, str]], str]:
    prompt, reward_model = raw["prompt"], raw.get("reward_model")
    if not isinstance(prompt, list) or not prompt:
        raise ValueError("'prompt' is not a list of messages; write it as [{'role': ..., 'content': ...}, ...]")
    for message in prompt:
        known = isinstance(message, Mapping) and all(isinstance(message.get(k), str) for k in ("role", "content"))
        if not known:
            raise ValueError(f"a message of 'prompt' lacks 'role' or 'content' as text: {message!r:.80}; fill in both")
    truth = _text(reward_model, "ground_truth")
    if truth is None:
        raise ValueError(
            "'reward_model' has no text in 'ground_truth'; write it as {'style': 'rule', 'ground_truth': '...'}"
        )
    return prompt, truth


def _from_three_fields(raw: Mapping[str, Any]) -> tuple[list[dict[str, str]], str]:
    system, user, truth = (
        next((text for name in names if (text := _text(raw, name)) is not None), None)
        for names in (_SYSTEM, _USER, ("output",))
    )
    if system is None or user is None or truth is None:
        raise ValueError(
            f"the fields are {', '.join(map(str, raw))}; expected either prompt and reward_model, "
            "or instruction (or system), input (or user) and output as text; rename or add them"
        )
    return [{"role": "system", "content": system}, {"role": "user", "content": user}], truth
