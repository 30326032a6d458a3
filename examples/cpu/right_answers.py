"""Right answers to rows that `rest-verl data` made: what the examples' tiny models are warmed up on."""

from __future__ import annotations

import json

from rest_verl.data.rows import Row


def right_answer(row: Row) -> str:
    """Return one right answer to a row, as a turn in the rlla format."""
    truth: str = row["reward_model"]["ground_truth"]
    return json.loads(truth)["answer"] if row["data_source"].startswith("bfcl_") else truth
