"""Which rows of a data file the reward manager could not score: better known before a run than counted in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rest_verl.reward.toolrl import read_ground_truth


def unscorable_rows(path: Path) -> tuple[int, list[tuple[int, str]]]:
    """Look through a parquet file in verl's layout.

    Returns:
        the number of rows, and (row, reason) of each whose ground truth cannot be read; rows count from 0.

    Raises:
        ValueError: the file is no parquet file, or has no column `reward_model`.
        OSError: it cannot be read.
    """
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is no parquet file: {error}") from None
    if "reward_model" not in table.column_names:
        raise ValueError(f"{path} has no column 'reward_model' (found: {', '.join(table.column_names)})")
    rows = table.column("reward_model").to_pylist()
    reasons = [(number, reason) for number, row in enumerate(rows) if (reason := _reason(row)) is not None]
    return len(rows), reasons


def _reason(reward_model: Any) -> str | None:
    """Why a row cannot be scored; None where it can."""
    if not isinstance(reward_model, dict) or "ground_truth" not in reward_model:
        return "reward_model without a ground_truth"
    try:
        read_ground_truth(reward_model["ground_truth"])
    except ValueError as error:
        return str(error)
    return None
