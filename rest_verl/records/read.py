"""Reading the record files of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from rest_verl.records.schema import SCHEMA, RecordMeta, meta_of

_NAME = re.compile(r"step_(\d+)\.parquet")


@dataclass(frozen=True)
class StepRecords:
    """The records of one step.

    Attributes:
        meta: what the file says about itself.
        table: columns of `schema.SCHEMA`.
    """

    meta: RecordMeta
    table: pa.Table


def step_name(step: int) -> str:
    """Name of the file of a global step."""
    return f"step_{step:06d}.parquet"


def step_files(folder: Path) -> dict[int, Path]:
    """The record files of a folder by step, in order; files of other names are passed over."""
    found = {int(match[1]): path for path in folder.glob("*.parquet") if (match := _NAME.fullmatch(path.name))}
    return dict(sorted(found.items()))


def read_step(path: Path) -> StepRecords:
    """Read one record file; ValueError, which names the file, if it is not one."""
    try:
        table = parquet.read_table(path)
        meta = meta_of(table.schema)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return StepRecords(meta, table.select(SCHEMA.names))
