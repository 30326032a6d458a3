"""The one layout of every row that is made here, so that verl can concatenate any of the files."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("index", pa.int64()), ("id", pa.string()), ("split", pa.string())])),
    ]
)


def make_row(
    data_source: str, index: int, id: str, split: str, prompt: list[dict[str, str]], ground_truth: str
) -> Row:
    """Return one row in the layout of SCHEMA.

    Args:
        data_source: what verl chooses the scorer by and groups metrics by.
        index: number of the row in its data set; verl tells prompts apart by it.
        id: a name by which the row is found again where it came from.
        split: train, validation or test.
        prompt: [{"role": str, "content": str}, ...].
        ground_truth: what the scorer of the data source reads.
    """
    return {
        "data_source": data_source,
        "prompt": [{"role": message["role"], "content": message["content"]} for message in prompt],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": ground_truth},
        "extra_info": {"index": index, "id": id, "split": split},
    }
