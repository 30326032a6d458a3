"""Write files atomically, compute their digests, and read rows from them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which is moved to `path` after the block.

    Missing parent folders are created. If the block raises, `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file as UTF-8, atomically; missing parent folders are created."""
    with replace_file(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def parquet_fault(path: Path) -> str | None:
    """Why a file is no complete parquet file, and what to do; None if it is one. The message does not name the file.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        begin = file.read(1024)
    if not begin:
        return "the file is empty (0 bytes); recreate it"
    if begin.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS instead of the file; fetch it with `git lfs pull`"
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return "this is JSON; `rest-verl data rlla FILE --out FOLDER` makes a parquet file of ToolRL's rows"
    if not begin.startswith(b"PAR1"):
        return "not a parquet file; give one, as `rest-verl data` writes it"
    try:
        pq.ParquetFile(path).close()
    except (pa.ArrowException, OSError) as error:
        return f"not a complete parquet file, perhaps truncated ({error}); recreate it"
    return None


_GET_AGAIN = "Copy or download it again."
_JSON_SUFFIXES = (".json", ".jsonl")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file: JSON if its name ends in .json or .jsonl, else parquet.

    With either name, JSON may be one list of objects or one object per line.

    Raises:
        ValueError: the file is empty, truncated, of another kind, or has no rows.
        FileNotFoundError: the file does not exist.
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
        # Read as one file, without guessing columns from folder names such as split=train.
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)  # otherwise invalid text raises a UnicodeDecodeError later, without a file name
        return table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a complete parquet file, perhaps truncated ({error}). {_GET_AGAIN}") from error


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
        raise ValueError(f"{where}: not complete JSON, perhaps truncated ({error}). {_GET_AGAIN}") from error
