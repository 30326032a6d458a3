"""ToolRL's training rows (`rlla`), read from parquet and checked before a run is started on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS: tuple[str, ...] = ("data_source", "prompt", "ability", "reward_model", "extra_info")

_GET_AGAIN = "Copy or download it again from ToolRL's dataset folder."


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Give the path of ToolRL's train or test parquet file.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes). {_GET_AGAIN}")
    try:
        # Read as one file and with no guessing from folder names such as split=train above it.
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)  # else broken text surfaces later, as a UnicodeDecodeError without a file name
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(
            f"{path}: not a whole parquet file, perhaps cut short on the way ({error}). {_GET_AGAIN}"
        ) from error


def _problem(row: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a row and what to do, or None."""
    prompt = row["prompt"]
    if not isinstance(prompt, list) or not prompt:
        return "'prompt' is not a list of messages; write it as [{'role': ..., 'content': ...}, ...]"
    for message in prompt:
        known = isinstance(message, Mapping) and all(isinstance(message.get(k), str) for k in ("role", "content"))
        if not known:
            return f"a message of 'prompt' lacks 'role' or 'content' as text: {message!r:.80}; fill in both"
    reward_model = row["reward_model"]
    truth = reward_model.get("ground_truth") if isinstance(reward_model, Mapping) else None
    if not isinstance(truth, str):
        return "'reward_model' has no text in 'ground_truth'; write it as {'style': 'rule', 'ground_truth': '...'}"
    if "<tool_call>" not in truth and "<response>" not in truth:
        return (
            f"the ground truth has neither <tool_call> nor <response>, so no answer could be right: {truth!r:.80}; "
            "wrap the expected calls or answer in these tags, or drop the row"
        )
    return None


def read_rlla(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of a ToolRL parquet file as plain dicts, strings, ints and lists.

    A row has the keys of COLUMNS: prompt is [{"role", "content"}, ...], reward_model holds "ground_truth" as text in
    the rlla wire format. Columns beyond these are kept.

    Raises:
        ValueError: the file is empty, cut short or no parquet, lacks a column, has no rows, or a row is unusable. The
            message names the file, the first bad row (counted from 0) and what to do.
        FileNotFoundError: there is no file at the path.
    """
    path = Path(path)
    table = _read_table(path)
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        raise ValueError(
            f"{path}: the columns {', '.join(missing)} are missing (found: {', '.join(table.column_names)}). "
            "Rename or add them; read_rlla reads the layout of ToolRL's files."
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    if not rows:
        raise ValueError(f"{path}: the file has no rows. {_GET_AGAIN}")
    problems = [(number, problem) for number, row in enumerate(rows) if (problem := _problem(row))]
    if problems:
        number, problem = problems[0]
        others = f" ({len(problems) - 1} more rows have problems.)" if len(problems) > 1 else ""
        raise ValueError(f"{path}, row {number}: {problem}.{others}")
    return rows
