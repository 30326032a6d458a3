"""The records of a step, packed for the page."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from rest_verl.commands.inspect.side_by_side import with_uids_of
from rest_verl.commands.inspect.token_text import Parts, headlines, in_one_line, shown_text, shown_tokens
from rest_verl.common.names import unknown_name
from rest_verl.core.regions import Region
from rest_verl.records.schema import TOKEN_NUMBERS, StepRecords, check_rows

DTYPES = ("<f4", "<u4", "|u1")


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack a header and one-dimensional arrays into bytes, deterministically.

    Raises:
        ValueError: the header holds a number that JSON cannot express, or an array's dtype is not in `DTYPES`.
    """
    layout, blocks, at = [], [], 0
    for name, array in arrays.items():
        if array.dtype.str not in DTYPES:
            raise ValueError(f"array {name!r} of dtype {array.dtype.str}: allowed: {', '.join(DTYPES)}")
        layout.append([name, array.dtype.str, at, len(array)])
        blocks.append(_pad(array.tobytes(), b"\0"))
        at += len(blocks[-1])
    text = json.dumps({**header, "arrays": layout}, allow_nan=False, separators=(",", ":")).encode("ascii")
    head = _pad(text, b" ")
    whole = b"".join([len(head).to_bytes(4, "little"), head, *blocks])
    return gzip.compress(whole, compresslevel=6, mtime=0)


def _pad(block: bytes, filler: bytes) -> bytes:
    return block + filler * (-len(block) % 4)


# Bits of a quiet NaN that marks a null in the table: computed NaNs have other bits.
NULL_BITS = 0x7FC0_0001
TOP = 0.99  # quantile of the absolute values at which the colour scale ends
GENERATED, TRAINED = 1, 2  # bits of `flags`

_REGIONS = {region.label: int(region) for region in Region}


def step_data(records: StepRecords, beside: StepRecords | None = None) -> bytes:
    """Everything the page needs of a step, packed (`pack`).

    The header holds `metas`, of the records and of those beside them; `rows`, the trajectories, with the number of
    their records as `run`; `prompts`, each group's headline and text by uid; `tokens`, the
    distinct tokens as [id, shown, hexadecimal bytes]; and `scales`, for each quantity the number at which its colour
    scale ends. The arrays have one entry per token of all trajectories: `token`, an index into `tokens`; `flags`;
    `region`; and the `TOKEN_NUMBERS`.

    Args:
        records: of the step.
        beside: of the same step of another run or preset, to be shown side by side (`with_uids_of`).

    Raises:
        ValueError: a row is damaged (`check_rows`), or a region is unknown.
    """
    for one in filter(None, (records, beside)):
        check_rows(one.table)
    shown = [records] if beside is None else [records, with_uids_of(records, beside)]
    table = pa.concat_tables([one.table.replace_schema_metadata() for one in shown])
    runs = [number for number, one in enumerate(shown) for _ in range(one.table.num_rows)]
    lengths = compute.list_value_length(table.column("ids")).to_numpy()
    tokens, index = _tokens(table)
    generated, trained = _flatten(table, "generated").astype(np.uint8), _flatten(table, "trained").astype(np.uint8)
    numbers = {name: _numbers(table, name, lengths) for name in TOKEN_NUMBERS}
    counted = trained.astype(bool)
    header = {
        "metas": [asdict(one.meta) for one in shown],
        "prompts": _prompts(table),
        "rows": [row | {"run": run} for row, run in zip(_rows(table, lengths), runs, strict=True)],
        "tokens": tokens,
        "scales": {name: top_of(values[counted]) for name, values in _coloured_quantities(numbers).items()},
    }
    arrays = {
        "token": index,
        "flags": generated * GENERATED + trained * TRAINED,
        "region": _region_numbers(table),
        **numbers,
    }
    return pack(header, arrays)


def top_of(values: np.ndarray) -> float:
    """Where a quantity's colour scale ends: the 99th percentile of its absolute values, or 1 if all are zero."""
    sizes = np.abs(values[np.isfinite(values)].astype(np.float64))
    top = float(np.quantile(sizes, TOP)) if len(sizes) else 0.0
    return top if top > 0 else float(sizes.max(initial=0.0)) or 1.0


def _coloured_quantities(numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The quantities that tokens can be coloured by."""
    gap = numbers["rollout_log_prob"] - numbers["old_log_prob"]
    return {name: numbers[name] for name in ("weight", "entropy", "advantage")} | {"gap": gap}


def _flatten(table: pa.Table, name: str) -> np.ndarray:
    """The entries of a column of lists, row after row."""
    return table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)


def _numbers(table: pa.Table, name: str, lengths: np.ndarray) -> np.ndarray:
    """(tokens,) float32, with `NULL_BITS` where the table has null for a token or a whole row."""
    rows = [np.empty(0, np.float32)]
    for values, length in zip(table.column(name), lengths, strict=True):
        numbers = np.zeros(length, np.float32)
        null = np.ones(length, dtype=bool)
        if values.is_valid:
            numbers = values.values.to_numpy(zero_copy_only=False).astype(np.float32)
            null = values.values.is_null().to_numpy(zero_copy_only=False)
        bits = numbers.view(np.uint32).copy()
        bits[null] = NULL_BITS
        rows.append(bits.view(np.float32))
    return np.concatenate(rows).astype("<f4", copy=False)


def _region_numbers(table: pa.Table) -> np.ndarray:
    names = table.column("region").combine_chunks().flatten().dictionary_encode()
    known = []
    for name in names.dictionary.to_pylist():
        if name not in _REGIONS:
            raise ValueError(unknown_name("region", str(name), _REGIONS))
        known.append(_REGIONS[name])
    indices = names.indices.to_numpy(zero_copy_only=False)
    return np.array(known, dtype=np.uint8)[indices] if len(indices) else np.empty(0, np.uint8)


def _tokens(table: pa.Table) -> tuple[list[list[Any]], np.ndarray]:
    """The distinct tokens, and for each token of the table its index among them."""
    seen: dict[tuple[int, bytes, Parts], int] = {}
    index = []
    for ids, pieces in zip(table.column("ids").to_pylist(), table.column("bytes").to_pylist(), strict=True):
        for token in zip(ids, pieces, shown_tokens(pieces), strict=True):
            index.append(seen.setdefault(token, len(seen)))
    return [[token_id, shown, piece.hex()] for token_id, piece, shown in seen], np.array(index, dtype="<u4")


def _prompts(table: pa.Table) -> dict[str, dict[str, Any]]:
    """By uid: the prompt's headline, its text and its number of tokens."""
    first: dict[str, tuple[bytes, list[int]]] = {}
    columns = (table.column(name).to_pylist() for name in ("uid", "prompt", "prompt_ids"))
    for uid, prompt, ids in zip(*columns, strict=True):
        first.setdefault(in_one_line(uid), (prompt or b"", ids or []))
    lines = headlines([prompt.decode("utf-8", "backslashreplace") for prompt, _ in first.values()])
    return {
        uid: {"headline": line, "shown": shown_tokens([prompt])[0] if prompt else ("",), "tokens": len(ids)}
        for (uid, (prompt, ids)), line in zip(first.items(), lines, strict=True)
    }


def _rows(table: pa.Table, lengths: np.ndarray) -> list[dict[str, Any]]:
    """Each trajectory without its tokens; `begin` and `end` are its bounds in the arrays."""
    ends = lengths.cumsum()
    small = table.select(["uid", "session", "output", "picked", "data_source", "score", "group_scores", "reward"])
    nested = [table.column(name).to_pylist() for name in ("turns", "events")]
    return [
        {
            **{name: _line(row[name]) for name in ("uid", "picked", "data_source")},
            "session": row["session"],
            "output": row["output"],
            "score": _number(row["score"]),
            "group_scores": [_number(score) for score in row["group_scores"] or []],
            "reward": [[in_one_line(name), _number(value)] for name, value in row["reward"] or []],
            "begin": int(end - length),
            "end": int(end),
            "turns": [_turn(turn) for turn in turns or []],
            "events": events and [[event["token"], _number(event["amount"])] for event in events],
        }
        for row, turns, events, length, end in zip(small.to_pylist(), *nested, lengths, ends, strict=True)
    ]


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "name": _line(call["name"]),
            "arguments": _text(call["arguments"]),
            "result": _text(call["result"]),
            "error": _line(call["error"]),
            "seconds": _number(call["seconds"]),
        }
        for call in turn["calls"] or []
    ]
    places = {name: turn[name] for name in ("begin", "end", "user_turn")}
    return {**places, "seconds": _number(turn["seconds"]), "calls": calls}


def _line(text: str | None) -> str | None:
    return None if text is None else in_one_line(text)


def _text(text: str | None) -> Parts | None:
    return None if text is None else shown_text(text)


def _number(value: float | None) -> float | str | None:
    """A number, or as text one that JSON cannot express."""
    return value if value is None or math.isfinite(value) else str(value)
