"""API-Bank as processed by ToolRL: questions whose answer is a call, one file per level."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rest_verl.data.files import read_rows
from rest_verl.data.listed_tools import listed_tools
from rest_verl.data.rows import Row, make_row, turn_of_calls

LEVELS = (1, 2, 3)
_LEVEL = re.compile(r"level[-_ ]?(\d+)", re.IGNORECASE)


def apibank_rows(
    paths: Sequence[str | Path],
    level: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Return the rows of ToolRL's API-Bank files in verl's layout, with `index` counting through all files.

    data_source is "apibank_level<N>", id is the data source and the row's number in its file.

    Args:
        paths: .json, .jsonl or parquet; a row is {"system": str, "user": str, "answer": {"name", "parameters"}, or a
            list of these}. The prompt is used unchanged.
        level: level of all files; None to read it from each file's name.
        on_progress: called with the number of rows made and of all rows.

    Raises:
        ValueError: a level is unknown or not 1 to 3, two files have the same level, a file is empty, truncated or of
            another kind, or a row is unusable. The message names file and row (counted from 0).
        FileNotFoundError: a file does not exist.
    """
    files = [Path(path) for path in paths]
    levels = [_level_of(path, level) for path in files]
    if len(set(levels)) < len(levels):
        raise ValueError(f"files of the same level: {', '.join(map(str, files))}; give one file per level")
    given = [(f"apibank_level{n}", path, read_rows(path)) for n, path in zip(levels, files, strict=True)]
    total = sum(len(rows) for _, _, rows in given)
    made: list[Row] = []
    for data_source, path, rows in given:
        for number, raw in enumerate(rows):
            try:
                made.append(_row(raw, data_source, number, len(made)))
            except ValueError as error:
                raise ValueError(f"{path}, row {number}: {error}") from error
            on_progress(len(made), total)
    return made


def _level_of(path: Path, given: int | None) -> int:
    found = _LEVEL.search(path.stem)
    level = given if given is not None else int(found[1]) if found else None
    if level is None:
        raise ValueError(f"{path}: the name does not contain the level (as in level2.json); give it with --level")
    if level not in LEVELS:
        raise ValueError(f"{path}: level {level} does not exist; API-Bank has {', '.join(map(str, LEVELS))}")
    return level


def _row(raw: Mapping[str, Any], data_source: str, number: int, index: int) -> Row:
    for field in ("system", "user"):
        if not isinstance(raw.get(field), str):
            raise ValueError(
                f"{field!r} is not text (the fields are {', '.join(map(str, raw))}); "
                "give an API-Bank file as processed by ToolRL"
            )
    prompt = [{"role": role, "content": raw[role]} for role in ("system", "user")]
    truth = turn_of_calls(_calls(raw.get("answer")))
    id = f"{data_source}_{number}"
    return make_row(data_source, index, id, "test", prompt, truth, tools=listed_tools(prompt))


def _calls(answer: Any) -> list[tuple[str, dict[str, Any]]]:
    calls = answer if isinstance(answer, list) else [answer]
    if not calls or not all(_is_call(call) for call in calls):
        raise ValueError(
            f"'answer' must be {{'name': text, 'parameters': {{...}}}} or a list of these, got {answer!r:.80}"
        )
    return [(call["name"], call["parameters"]) for call in calls]


def _is_call(call: Any) -> bool:
    return isinstance(call, Mapping) and isinstance(call.get("name"), str) and isinstance(call.get("parameters"), dict)
