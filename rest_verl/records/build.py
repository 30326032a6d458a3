"""Builds the table of records from the trainer's data of the chosen rows."""

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
    """The chosen rows of a batch, in numpy; N is the total number of their response tokens, which are concatenated.

    Attributes:
        outputs: identity and score of each row.
        picked: reason for each choice: `best`, `worst` or `sample`.
        data_sources: data source of each row.
        group_scores: scores of all trajectories of each row's group.
        extra_fields: extra fields of each row, from the agent loop and the reward manager.
        prompts: token ids of each prompt, int64.
        lengths: (rows,) int64, number of tokens of each response.
        ids: (N,) int64, token ids as sampled.
        generated, trained: (N,) bool; see `schema`.
        regions: (N,) int8 of `Region`.
        numbers: those of `schema.TOKEN_NUMBERS` that are available, (N,) float32 each.
        events: what each row's score consists of, as (token, amount) with tokens counted in the row; None for none.
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
    events: Sequence[Sequence[tuple[int, float]]] | None = None


def build_table(rows: Rows, pieces: TokenBytes, meta: RecordMeta) -> pa.Table:
    """Build the table of `schema.SCHEMA`.

    Args:
        rows: the chosen rows.
        pieces: bytes of every token, including end-of-turn tokens.
        meta: metadata of the file.
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
        "events": [None] * len(rows.outputs) if rows.events is None else [_events(row) for row in rows.events],
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
    """The numbers that the reward manager returned for a row."""
    found = fields.get("reward_extra_info") or {}
    return {str(key): float(value) for key, value in found.items() if isinstance(value, Real)}


def _turns(fields: Mapping[str, Any], length: int) -> list[dict[str, Any]]:
    """The turns of a row: from the table of the agent loop, or the whole response as one turn."""
    table = fields.get("rest_turn_table")
    if fields.get("rest_per_turn"):
        # Only the row of the last turn has a table, that of the whole trajectory: its last entry is this turn.
        entry = table[-1] if table else {}
        return [_turn([0, length], entry)]
    if table is None:
        return [_turn([0, length], {})]
    return [_turn(row["tokens"], row) for row in table]


def _events(row: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    return [{"token": token, "amount": amount} for token, amount in row]


def _turn(bounds: Sequence[int], entry: Mapping[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "name": _text(call["name"]),
            "arguments": None if call["arguments"] is None else _text(json.dumps(call["arguments"], default=str)),
            "result": _text(call["result"]),
            "error": call["error"],
            "seconds": call["seconds"],
        }
        for call in entry.get("calls", [])
    ]
    return {
        "begin": bounds[0],
        "end": bounds[1],
        "user_turn": entry.get("user_turn", 0),
        "seconds": entry.get("seconds"),
        "calls": calls,
    }


def _text(text: str | None) -> str | None:
    """Text that UTF-8 can hold: lone surrogates, which a model's JSON can produce, are escaped."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
