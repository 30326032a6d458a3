"""A folder with train.parquet, validation.parquet and the manifest that says what they were made from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rest_verl
from rest_verl.data.files import sha256_of, write_whole
from rest_verl.data.rows import Row
from rest_verl.data.split import split_by_hash, write_parquet

SIDES = ("train", "validation")


@dataclass(frozen=True)
class Origin:
    """What a data set is made from. It names no folder, so that the same data gives the same manifest everywhere.

    Attributes:
        command: of `rest-verl data`.
        sources: packages with their versions, or files with their digests.
        options: all that decides what the rows are.
    """

    command: str
    sources: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]


def file_source(path: Path) -> dict[str, str]:
    """Return {"file": name, "sha256": digest} of a file."""
    return {"file": path.name, "sha256": sha256_of(path)}


def write_data_set(rows: Sequence[Row], validation_share: float, out: Path, origin: Origin) -> dict[str, Counter[str]]:
    """Split rows, write both sides and `manifest.json` into the folder `out`; return the rows of each data source.

    The manifest of an earlier run is removed first and the new one is written last, so that a folder with a manifest
    is whole. A side that gets no rows has no file: that of an earlier run is removed, for its rows may now stand on
    the other side.

    Returns:
        {"train": {data source: rows}, "validation": {data source: rows}}

    Raises:
        ValueError: as `split_by_hash` and `write_parquet`.
        OSError: the folder cannot be written to.
    """
    sides = dict(zip(SIDES, split_by_hash(rows, validation_share), strict=True))
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
