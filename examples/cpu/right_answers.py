"""Right answers to rows of `rest-verl data`, on which the examples' tiny models are warmed up."""

from __future__ import annotations

import json

from rest_verl.data.rows import Row


def right_answer(row: Row) -> str:
    """Return one right answer to a row, as a turn in the rlla format."""
    truth: str = row["reward_model"]["ground_truth"]
    return json.loads(truth)["answer"] if row["data_source"].startswith("bfcl_") else truth
