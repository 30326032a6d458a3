"""The columns of a record file. One row is one output of a rollout: a trajectory, or with `per_turn` a turn.

In the `PER_TOKEN` columns, a row has a list with one entry for each token of its response, in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

VERSION = 1
_META = b"rest_verl"

CALL = pa.struct(
    {
        "name": pa.string(),  # as the model wrote it; null if it wrote none
        "arguments": pa.string(),  # JSON; null if the call could not be read
        "result": pa.string(),  # text that the model read
        "error": pa.string(),  # one of rest_verl.rollout.calls.ERRORS; null if the call succeeded
        "seconds": pa.float64(),
    }
)
TURN = pa.struct(
    {
        "begin": pa.int32(),  # position of its first token
        "end": pa.int32(),  # position after its last token
        "user_turn": pa.int32(),  # number of the user turn that it answers, from 0
        "seconds": pa.float64(),  # duration of its generation
        "calls": pa.list_(CALL),
    }
)
EVENT = pa.struct(
    {
        "token": pa.int32(),  # position of the token that decided it
        "amount": pa.float64(),  # in units of the reward
    }
)
TOKEN_NUMBERS = ("entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob")
PER_TOKEN = ("ids", "bytes", "generated", "trained", "region", *TOKEN_NUMBERS)
SCHEMA = pa.schema(
    {
        "step": pa.int32(),
        "uid": pa.string(),  # id of the prompt, shared by all rows of a group
        "session": pa.int32(),  # number of the rollout within its group
        "output": pa.int32(),  # number of the output within its rollout
        "picked": pa.string(),  # reason for its choice: best or worst of its group, or sample
        "data_source": pa.string(),
        "score": pa.float64(),  # sum of the token-level scores
        "group_scores": pa.list_(pa.float64()),  # scores of all trajectories of the group, also of those without a row
        "reward": pa.map_(pa.string(), pa.float64()),  # reward components
        "prompt_ids": pa.list_(pa.int32()),
        "prompt": pa.binary(),  # bytes of the prompt's ids
        "ids": pa.list_(pa.int32()),  # as sampled
        "bytes": pa.list_(pa.binary()),  # bytes of each id, including end-of-turn tokens
        "generated": pa.list_(pa.bool_()),  # by the policy; false for text of tools and users
        "trained": pa.list_(pa.bool_()),  # generated and not rejected by rollout correction
        "region": pa.list_(pa.string()),  # names of core.regions.Region, in lower case
        "entropy": pa.list_(pa.float32()),  # nats; null if verl computed none
        "weight": pa.list_(pa.float32()),  # after normalisation; 0 where not trained
        "advantage": pa.list_(pa.float32()),  # of the base estimator, by events or by component, without the weight
        "old_log_prob": pa.list_(pa.float32()),  # nats, by the actor
        "rollout_log_prob": pa.list_(pa.float32()),  # nats, by the rollout engine
        "turns": pa.list_(TURN),
        "events": pa.list_(EVENT),  # what the score consists of; null with rest.credit=trajectory
    }
)
_ADDED = ("events",)  # columns that files of earlier releases lack: read as null


@dataclass(frozen=True)
class RecordMeta:
    """Metadata of a file, stored in its schema.

    Attributes:
        step: global step; for text that was not trained on, the step whose weights are shown.
        total_steps: number of steps of the run; 0 without a run.
        format, scheme, apply_in, base_estimator: settings of the run; empty where they do not apply.
        trajectories: number of trajectories in the whole batch, of which the file holds a sample.
        version: version of the columns.
    """

    step: int
    total_steps: int
    format: str
    scheme: str
    apply_in: str
    base_estimator: str
    trajectories: int
    version: int = VERSION


def with_meta(meta: RecordMeta) -> pa.Schema:
    """The schema with a file's own metadata."""
    return SCHEMA.with_metadata({_META: json.dumps(asdict(meta)).encode()})


_NAME = re.compile(r"step_(\d+)\.parquet")


@dataclass(frozen=True)
class StepRecords:
    """The records of one step.

    Attributes:
        meta: metadata of the file.
        table: table with the columns of `SCHEMA`.
    """

    meta: RecordMeta
    table: pa.Table


def step_name(step: int) -> str:
    """File name of a global step."""
    return f"step_{step:06d}.parquet"


def step_files(folder: Path) -> dict[int, Path]:
    """The record files of a folder by step, in order; files with other names are ignored."""
    found = {int(match[1]): path for path in folder.glob("*.parquet") if (match := _NAME.fullmatch(path.name))}
    return dict(sorted(found.items()))


# Columns in which no row may be null, and columns of lists in which no item may be.
_ALWAYS = ("step", "uid", "session", "output", "picked", *PER_TOKEN[: -len(TOKEN_NUMBERS)])
_LISTS = ("ids", "bytes", "generated", "trained", "region", "prompt_ids", "turns", "events")


def read_step(path: Path) -> StepRecords:
    """Read one record file; ValueError with the file's name if it is not one, or damaged."""
    try:
        table = parquet.read_table(path)
        return StepRecords(meta_of(table.schema), checked_table(table))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from None


def meta_of(schema: pa.Schema) -> RecordMeta:
    """The metadata of a file; ValueError if it is not a record file of this version."""
    found = (schema.metadata or {}).get(_META)
    if found is None:
        raise ValueError("not a file of token records: set rest.dump_dir=FOLDER in a run with ResT to write them")
    try:
        values = json.loads(found)
    except RecursionError:
        values = None
    if not isinstance(values, dict):
        raise ValueError("its metadata is not a JSON object: the file is damaged")
    if values.get("version") != VERSION:
        raise ValueError(
            f"token records have version {values.get('version')!r:.40}, but this release of rest-verl reads version "
            f"{VERSION}: use the release that wrote them"
        )
    kinds = {"int": int, "str": str}
    for field in fields(RecordMeta):
        value = values.get(field.name)
        if type(value) is not kinds[str(field.type)]:
            raise ValueError(
                f"its metadata has {field.name}={value!r:.40}, expected {field.type}: the file is damaged"
            )
    return RecordMeta(**{field.name: values[field.name] for field in fields(RecordMeta)})


def checked_table(table: pa.Table) -> pa.Table:
    """The columns of `SCHEMA`, in its order and types; null where the file is older than the column.

    Raises:
        ValueError: the table is damaged, or a column is missing or of another type.
    """
    table.validate(full=True)
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    for name in [name for name in _ADDED if name in missing]:
        table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    if missing := [name for name in missing if name not in _ADDED]:
        raise ValueError(
            f"it has no column {', '.join(missing)}: the file is damaged, or of another release of rest-verl; use the "
            "release that wrote it"
        )
    columns = []
    for field in SCHEMA:
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            raise ValueError(f"column {field.name} holds {column.type}, expected {field.type}: {error}") from None
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def check_rows(table: pa.Table) -> None:
    """Check the rows of a table that has the columns of `SCHEMA`.

    Raises:
        ValueError: an entry is null that must not be, a row's lists differ in length, or a turn or an event lies
            outside of its row.
    """
    for name in _ALWAYS:
        if table.column(name).null_count:
            row = table.column(name).is_null().to_pylist().index(True)
            raise ValueError(f"row {row}: no {name}; only {', '.join(TOKEN_NUMBERS)} may be missing")
    for name in _LISTS:
        items = table.column(name)
        if compute.list_flatten(items).null_count:
            row = next(row for row, one in enumerate(items) if one.is_valid and one.values.null_count)
            raise ValueError(f"row {row}: null in {name}: the file is damaged")
    lengths = _lengths(table, "ids")
    for name in PER_TOKEN:
        for row, (length, expected) in enumerate(zip(_lengths(table, name), lengths, strict=True)):
            if length is not None and length != expected:
                raise ValueError(f"row {row}: {length} entries in {name} and {expected} in ids: must be equal")
    for row, (turns, length) in enumerate(zip(table.column("turns").to_pylist(), lengths, strict=True)):
        for turn in turns or []:
            _check_turn(row, turn, length)
    for row, (events, length) in enumerate(zip(table.column("events").to_pylist(), lengths, strict=True)):
        for event in events or []:
            if None in event.values() or not 0 <= event["token"] < length:
                raise ValueError(f"row {row}: an event {event} of {length} tokens: the file is damaged")


def _check_turn(row: int, turn: Mapping[str, Any], length: int) -> None:
    begin, end = turn["begin"], turn["end"]
    if begin is None or end is None or not 0 <= begin <= end <= length:
        raise ValueError(f"row {row}: a turn from token {begin} to {end} of {length}: the file is damaged")
    if None in (turn["calls"] or []):
        raise ValueError(f"row {row}: null in the calls of a turn: the file is damaged")


def _lengths(table: pa.Table, name: str) -> Sequence[Any]:
    return compute.list_value_length(table.column(name)).to_pylist()
