"""Split rows into training and validation by what is asked, and write them where verl can read them."""

import bisect
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rest_verl.data.files import replacing

Row = Mapping[str, Any]


def _asked(row: Row, number: int) -> list[list[str]]:
    """Return [[role, content], ...] of the messages that ask: all but the system's, or all if there is no other."""
    prompt = row.get("prompt")
    messages = [] if prompt is None or isinstance(prompt, str | Mapping) else list(prompt)
    if not messages or not all(isinstance(message, Mapping) and "content" in message for message in messages):
        raise ValueError(f"row {number}: 'prompt' must be a list of messages with 'content', got {prompt!r:.200}")
    pairs = [[str(message.get("role")), str(message["content"])] for message in messages]
    return [pair for pair in pairs if pair[0] != "system"] or pairs


def _hash(asked: list[list[str]], key: str) -> int:
    """A number in [0, 2**64) that is the same in every process and on every machine, unlike Python's hash()."""
    digest = hashlib.sha256(json.dumps([key, asked]).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def split_by_hash(
    rows: Sequence[Row], validation_share: float, key: str = ""
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (training rows, validation rows), each in the given order, with extra_info.split set to its side.

    A row's side depends on nothing but the question (its messages besides the system's) and `key`. So the same prompt
    is never on both sides, nor is one question asked with other tools, and adding rows moves none of the old ones.
    The price is that validation_share is met only on average. The given rows are not changed.

    Args:
        rows: verl rows; "prompt" is a list of {"role", "content"}.
        validation_share: expected share of the validation rows, 0 to 1.
        key: any text; another key gives another split.

    Raises:
        ValueError: the share is not in [0, 1], a row has no prompt, or a side that was asked for came out empty
            (verl would fail on the empty file much later).
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must lie between 0 and 1, got {validation_share}")
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for number, row in enumerate(rows):
        held_out = _hash(_asked(row, number), key) < validation_share * 2**64
        side = "validation" if held_out else "train"
        sides[side].append({**row, "extra_info": {**(row.get("extra_info") or {}), "split": side}})
    for side in sides:
        if 0 < validation_share < 1 and not sides[side]:
            raise ValueError(
                f"none of the {len(rows)} rows fell on the {side} side at validation_share={validation_share}: "
                "give more rows (with different questions), another share or another key"
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
            "one type, down to every nested key: store values of mixed type as one JSON string, as ground_truth is."
        ) from error


def write_parquet(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows as a parquet file that verl's RLHFDataset reads: prompt comes back as a list of dicts.

    A parquet column has one type. A key that only some rows (or nested dicts) have comes back as None in the others,
    and ints beside floats come back as floats. Missing parent folders are made. The file is there as a whole or not at
    all: an older one stays until the new one is written.

    Raises:
        ValueError: there are no rows, or values of one column differ in type; the message names column and row.
    """
    if not rows:
        raise ValueError(f"there are no rows to write to {path}")
    # The columns are gathered from all rows: left to itself, pyarrow looks at the first row and drops what it lacks.
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: _column(name, rows) for name in names})
    try:
        with replacing(Path(path)) as part:
            pq.write_table(table, part)
    except pa.ArrowNotImplementedError as error:
        raise ValueError(f"{path}: parquet holds no dict that is empty in every row; drop it ({error})") from error
