"""Split rows and write train.parquet, validation.parquet and a manifest of their origin."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import rest_verl
from rest_verl.data.files import replace_file, sha256_of, write_whole
from rest_verl.data.question import question_of_prompt
from rest_verl.data.rows import Row


def _hash(question: str, key: str) -> int:
    """A number in [0, 2**64) that is the same in every process and on every machine, unlike Python's hash()."""
    digest = hashlib.sha256(json.dumps([key, question]).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def split_by_hash(
    rows: Sequence[Row],
    validation_share: float,
    key: str = "",
    question_of: Callable[[Row], str] = question_of_prompt,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (training rows, validation rows), each in the given order, with extra_info.split set to its side.

    A row's side depends only on its question and `key`. So no question is on both sides, with other tools or in
    another format either, and adding rows moves none of the old ones. In return, validation_share holds only on
    average. The given rows are not changed.

    Args:
        rows: verl rows; "prompt" is a list of {"role", "content"}.
        validation_share: expected share of validation rows, 0 to 1.
        key: any text; another key gives another split.
        question_of: function from a row to a text that names its question; default: the dialogue's opening request.

    Raises:
        ValueError: the share is not in [0, 1], a row has no question, or a requested side is empty (verl would fail on
            the empty file much later).
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must lie between 0 and 1, got {validation_share}")
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for number, row in enumerate(rows):
        try:
            question = question_of(row)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
        held_out = _hash(question, key) < validation_share * 2**64
        side = "validation" if held_out else "train"
        sides[side].append({**row, "extra_info": {**(row.get("extra_info") or {}), "split": side}})
    for side in sides:
        if 0 < validation_share < 1 and not sides[side]:
            raise ValueError(
                f"none of the {len(rows)} rows fell on the {side} side at validation_share={validation_share}: "
                "give more rows (with different opening requests), a different share or a different key"
            )
    return sides["train"], sides["validation"]


def _column(name: str, rows: Sequence[Row]) -> pa.Array:
    values = [row.get(name) for row in rows]

    def breaks(count: int) -> bool:
        try:
            pa.array(values[:count])
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return True
        return False

    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        number = bisect.bisect_left(range(len(values) + 1), True, key=breaks) - 1
        raise ValueError(
            f"column {name!r}: the value of row {number} does not fit those before it ({error}). A parquet column has "
            "one type, down to every nested key: store values of mixed types as one JSON string, like ground_truth."
        ) from error


def write_parquet(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows as a parquet file that verl's RLHFDataset reads: prompt comes back as a list of dicts.

    A parquet column has one type. A key that only some rows (or nested dicts) have comes back as None in the others,
    and ints mixed with floats come back as floats. Missing parent folders are created. The file is written atomically:
    an older one stays until the new one is complete.

    Raises:
        ValueError: there are no rows, or the values of a column differ in type; the message names column and row.
    """
    if not rows:
        raise ValueError(f"there are no rows to write to {path}")
    # Collect the columns of all rows: pyarrow itself would use the first row and drop columns that it lacks.
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: _column(name, rows) for name in names})
    try:
        with replace_file(Path(path)) as part:
            pq.write_table(table, part)
    except pa.ArrowNotImplementedError as error:
        raise ValueError(f"{path}: parquet cannot hold a dict that is always empty; drop it ({error})") from error


SIDES = ("train", "validation")


@dataclass(frozen=True)
class Origin:
    """The origin of a data set. It names no folder, so that the same data gives the same manifest everywhere.

    Attributes:
        command: subcommand of `rest-verl data`.
        sources: packages with versions, or files with digests.
        options: all options that determine the rows.
    """

    command: str
    sources: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]


def file_source(path: Path) -> dict[str, str]:
    """Return {"file": name, "sha256": digest} of a file."""
    return {"file": path.name, "sha256": sha256_of(path)}


def write_data_set(
    rows: Sequence[Row],
    validation_share: float,
    out: Path,
    origin: Origin,
    question_of: Callable[[Row], str] = question_of_prompt,
) -> dict[str, Counter[str]]:
    """Split rows; write both sides and `manifest.json` into the folder `out`.

    An earlier manifest is removed first and the new one is written last, so that a folder with a manifest is complete.
    A side without rows has no file: an earlier one is removed, since its rows may now be on the other side.

    Returns:
        the number of rows: {"train": {data source: rows}, "validation": {data source: rows}}

    Raises:
        ValueError: as `split_by_hash` and `write_parquet`.
        OSError: the folder is not writable.
    """
    sides = dict(zip(SIDES, split_by_hash(rows, validation_share, question_of=question_of), strict=True))
    counts = {name: Counter(row["data_source"] for row in side) for name, side in sides.items()}
    manifest = out / "manifest.json"
    manifest.unlink(missing_ok=True)
    digests = {}
    for name, side in sides.items():
        path = out / f"{name}.parquet"
        if side:
            write_parquet(side, path)
            digests[path.name] = sha256_of(path)
        else:
            path.unlink(missing_ok=True)
    text = {
        "rest_verl": rest_verl.__version__,
        "command": origin.command,
        "sources": list(origin.sources),
        "options": {**origin.options, "validation_share": validation_share},
        "rows": {name: dict(sorted(count.items())) for name, count in counts.items()},
        "sha256": digests,
    }
    write_whole(manifest, json.dumps(text, indent=2, ensure_ascii=False) + "\n")
    return counts
