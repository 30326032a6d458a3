"""Files that users bring, parquet or JSON, read into plain dicts; each fault is one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_GET_AGAIN = "Copy or download it again."
_JSON_SUFFIXES = (".json", ".jsonl")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file: JSON if its name ends in .json or .jsonl, else parquet.

    JSON is one list of objects, or one object a line, whatever the name says.

    Raises:
        ValueError: the file is empty, cut short, of another kind, or has no rows.
        FileNotFoundError: there is no file at the path.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Give the path of a parquet, .json or .jsonl file.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes). {_GET_AGAIN}")
    rows = _json_rows(path) if path.suffix.lower() in _JSON_SUFFIXES else _parquet_rows(path)
    if not rows:
        raise ValueError(f"{path}: the file has no rows. {_GET_AGAIN}")
    return rows


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    try:
        # Read as one file and with no guessing from folder names such as split=train above it.
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)  # else broken text surfaces later, as a UnicodeDecodeError without a file name
        return table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(
            f"{path}: not a whole parquet file, perhaps cut short on the way ({error}). {_GET_AGAIN}"
        ) from error


def _json_rows(path: Path) -> list[dict[str, Any]]:
    source = path.read_bytes()
    if source.lstrip().startswith(b"["):
        rows = _json(source, f"{path}")
    else:
        lines = enumerate(source.split(b"\n"), start=1)
        rows = [_json(line, f"{path}, line {number}") for number, line in lines if line.strip()]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"{path}, row {number}: a row must be a JSON object, got {row!r:.80}")
    return rows


def _json(source: bytes, where: str) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:  # broken JSON or UTF-8, or brackets nested thousands deep
        raise ValueError(f"{where}: not whole JSON, perhaps cut short on the way ({error}). {_GET_AGAIN}") from error
