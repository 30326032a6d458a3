"""From what a trainer holds of the chosen rows to a table of records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa

from rest_verl.core.regions import Region
from rest_verl.core.tokens import TokenBytes
from rest_verl.records.sample import Output
from rest_verl.records.schema import TOKEN_NUMBERS, RecordMeta, with_meta

_REGION_NAMES = pa.array([region.label for region in Region], type=pa.string())


@dataclass(frozen=True)
class Rows:
    """The chosen rows of a batch, in numpy; N is the number of their response tokens, one row after the other.

    Attributes:
        outputs: what each row is.
        picked: why each is here.
        data_sources: of each.
        group_scores: the score of every trajectory of each row's group.
        extra_fields: what agent loop and reward manager left with each row.
        prompts: token ids of each prompt, int64.
        lengths: (rows,) int64, tokens of each response.
        ids: (N,) int64.
        generated, trained: (N,) bool; see `schema`.
        regions: (N,) int8 of `Region`.
        numbers: `schema.TOKEN_NUMBERS` that there are, each (N,) float32.
    """

    outputs: Sequence[Output]
    picked: Sequence[str]
    data_sources: Sequence[str | None]
    group_scores: Sequence[Sequence[float]]
    extra_fields: Sequence[Mapping[str, Any]]
    prompts: Sequence[np.ndarray]
    lengths: np.ndarray
    ids: np.ndarray
    generated: np.ndarray
    trained: np.ndarray
    regions: np.ndarray
    numbers: Mapping[str, np.ndarray]


def build_table(rows: Rows, pieces: TokenBytes, meta: RecordMeta) -> pa.Table:
    """The table of `schema.SCHEMA`.

    Args:
        rows: the chosen rows.
        pieces: the bytes of every token, those of end-of-turn tokens too.
        meta: goes into the metadata.
    """
    schema = with_meta(meta)
    offsets = pa.array(np.concatenate([[0], np.cumsum(rows.lengths)]), type=pa.int32())

    def per_token(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    columns: dict[str, Any] = {
        "step": [meta.step] * len(rows.outputs),
        "uid": [one.uid for one in rows.outputs],
        "session": [one.session for one in rows.outputs],
        "output": [one.output for one in rows.outputs],
        "picked": rows.picked,
        "data_source": rows.data_sources,
        "score": [one.score for one in rows.outputs],
        "group_scores": rows.group_scores,
        "reward": [list(_components(fields).items()) for fields in rows.extra_fields],
        "prompt_ids": rows.prompts,
        "prompt": [pieces.decode(ids) for ids in rows.prompts],
        "ids": per_token(pa.array(rows.ids, type=pa.int32())),
        "bytes": per_token(pieces.of(rows.ids).cast(pa.binary())),
        "generated": per_token(pa.array(rows.generated)),
        "trained": per_token(pa.array(rows.trained)),
        "region": per_token(_REGION_NAMES.take(pa.array(rows.regions))),
        "turns": [
            _turns(fields, length) for fields, length in zip(rows.extra_fields, rows.lengths.tolist(), strict=True)
        ],
    }
    for name in TOKEN_NUMBERS:
        found = rows.numbers.get(name)
        columns[name] = [None] * len(rows.outputs) if found is None else per_token(pa.array(found, type=pa.float32()))
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=schema.field(name).type)
        for name, column in ((name, columns[name]) for name in schema.names)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _components(fields: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among what the reward manager left."""
    found = fields.get("reward_extra_info") or {}
    return {str(key): float(value) for key, value in found.items() if isinstance(value, Real)}


def _turns(fields: Mapping[str, Any], length: int) -> list[dict[str, Any]]:
    """The turns of a row: as the agent loop noted them, or the whole response as one."""
    table = fields.get("rest_turn_table")
    if fields.get("rest_per_turn"):
        # The table of the whole trajectory, which the last turn's row carries: of it this turn is the last.
        noted = table[-1] if table else {}
        return [_turn([0, length], noted)]
    if table is None:
        return [_turn([0, length], {})]
    return [_turn(row["tokens"], row) for row in table]


def _turn(bounds: Sequence[int], noted: Mapping[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "name": _text(call["name"]),
            "arguments": None if call["arguments"] is None else _text(json.dumps(call["arguments"], default=str)),
            "result": _text(call["result"]),
            "error": call["error"],
            "seconds": call["seconds"],
        }
        for call in noted.get("calls", [])
    ]
    return {
        "begin": bounds[0],
        "end": bounds[1],
        "user_turn": noted.get("user_turn", 0),
        "seconds": noted.get("seconds"),
        "calls": calls,
    }


def _text(text: str | None) -> str | None:
    """Text that UTF-8 can hold: a lone surrogate, which JSON in a model's own words can make, is written out."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
