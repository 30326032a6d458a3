"""Check Arrow schemas: which ones verl and the reward manager can read, and which verl can concatenate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class _Column:
    name: str
    wanted: str
    fits: Callable[[pa.DataType], bool]
    needed: bool = True


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _has_texts(kind: pa.DataType, *names: str) -> bool:
    """Whether a struct has all these fields as text; it may have others."""
    if not pa.types.is_struct(kind):
        return False
    fields = {field.name: field.type for field in kind}
    return all(name in fields and _is_text(fields[name]) for name in names)


# verl reads prompt and extra_info, the reward manager reads data_source and reward_model; nobody reads ability.
_COLUMNS = (
    _Column("data_source", "string", _is_text),
    _Column(
        "prompt",
        "list<struct<role: string, content: string>>",
        lambda kind: _is_list(kind) and _has_texts(kind.value_type, "role", "content"),
    ),
    _Column("reward_model", "struct<ground_truth: string>", lambda kind: _has_texts(kind, "ground_truth")),
    # a column that is null in every row has the type null; verl treats such rows as rows without extra_info
    _Column("extra_info", "struct", lambda kind: pa.types.is_struct(kind) or pa.types.is_null(kind), needed=False),
)

_EXTRA_INFO = ("index", "tools", "environment", "environment_kwargs", "user", "user_kwargs")


def schema_faults(schema: pa.Schema) -> list[str]:
    """Why verl or the reward manager cannot read a file with this schema; extra columns are allowed."""
    faults = []
    for column in _COLUMNS:
        count = schema.names.count(column.name)
        if count > 1:
            faults.append(f"{count} columns are named {column.name!r}; keep one")
        elif count == 1 and not column.fits(found := schema.field(column.name).type):
            faults.append(f"the column {column.name!r} must be {column.wanted} but is {found}")
        elif not count and column.needed:
            faults.append(f"the column {column.name!r} ({column.wanted}) is missing")
    return faults


def columns_to_read(schema: pa.Schema) -> list[str]:
    """The columns and struct fields that a check needs; the schema has no faults."""
    columns = ["data_source", "prompt", "reward_model.ground_truth"]
    if "extra_info" in schema.names and pa.types.is_struct(kind := schema.field("extra_info").type):
        columns += [f"extra_info.{field.name}" for field in kind if field.name in _EXTRA_INFO]
    return columns


def schema_differences(first: pa.Schema, second: pa.Schema) -> list[str]:
    """The fields that keep verl (`datasets.concatenate_datasets`) from concatenating two files.

    It fills columns and struct fields that one file lacks, or that are null in all its rows, with None. Common ones
    must have the same type; in a list, where nothing can be filled, down to the last field of its structs.
    """
    return list(_differences("", _fields(first), _fields(second)))


def _fields(parent: pa.Schema | pa.StructType) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in parent}


def _differences(path: str, first: dict[str, pa.DataType], second: dict[str, pa.DataType]) -> Iterator[str]:
    for name, one in first.items():
        other = second.get(name, one)  # a missing field is filled
        if pa.types.is_struct(one) and pa.types.is_struct(other):
            yield from _differences(f"{path}{name}.", _fields(one), _fields(other))
        elif _shape(one) != _shape(other) and not _fills(one, other) and not _fills(other, one):
            yield f"{path}{name} is {one} in one and {other} in the other"


def _fills(empty: pa.DataType, other: pa.DataType) -> bool:
    """Whether a column without values can be concatenated with the other; with a struct, `datasets` fails."""
    while _is_list(empty):
        empty = empty.value_type
    return pa.types.is_null(empty) and not pa.types.is_struct(other)


def _shape(kind: pa.DataType) -> Any:
    """A type as `datasets` compares it: without the order of a struct's fields and the name of a list's item."""
    if pa.types.is_struct(kind):
        return {field.name: _shape(field.type) for field in kind}
    if _is_list(kind):
        return (pa.types.is_large_list(kind), _shape(kind.value_type))
    return _shape(kind.value_type) if pa.types.is_dictionary(kind) else str(kind)
