"""Two sets of records of one step, in which the same prompt has the same uid: what the page shows side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from rest_verl.records.schema import RecordMeta, StepRecords


def with_uids_of(first: StepRecords, second: StepRecords) -> StepRecords:
    """The second records, in which a prompt that the first ones have has its uid there.

    Prompts are the same if their texts are, or if both have none and the same uid: of texts, the same line. A uid of
    verl's, which a run draws, or the user's counts as well. Where a text stands for several prompts, they are taken in
    their order. A prompt of its own gets a uid that the first records do not have.
    """
    places: dict[bytes, list[str]] = defaultdict(list)
    known = _prompts(first)
    for uid, prompt in known.items():
        places[prompt].append(uid)
    by_uid = is_a_run(first.meta) and is_a_run(second.meta)
    new = {}
    for uid, prompt in _prompts(second).items():
        if uid in known and (by_uid or known[uid] == prompt):
            new[uid] = uid
            if uid in places[known[uid]]:
                places[known[uid]].remove(uid)
    for uid, prompt in _prompts(second).items():
        if uid not in new:
            new[uid] = places[prompt].pop(0) if prompt and places[prompt] else f"beside {uid}"
    table = second.table
    column = pa.array([new[uid] for uid in table.column("uid").to_pylist()], pa.string())
    at = table.schema.get_field_index("uid")
    return StepRecords(second.meta, table.set_column(at, table.schema.field(at), column))


def is_a_run(meta: RecordMeta) -> bool:
    """Whether records are a run's, and not made of texts."""
    return meta.total_steps > 0


def shared_steps(first: Iterable[int], second: Iterable[int]) -> list[int]:
    """The steps that both have, in ascending order."""
    return sorted(set(first) & set(second))


def names_of(paths: Sequence[Path]) -> tuple[str, str]:
    """What to call two paths: the last part in which they differ, without the suffix of a file of texts.

    Raises:
        ValueError: both are the same.
    """
    first, second = (path.resolve() for path in paths)
    for one, other in zip(reversed(first.parts), reversed(second.parts), strict=False):
        if one != other:
            return one.removesuffix(".jsonl"), other.removesuffix(".jsonl")
    if first == second:
        raise ValueError(f"{paths[0]} is named twice: name two runs to see them side by side")
    return str(paths[0]), str(paths[1])


def _prompts(records: StepRecords) -> dict[str, bytes]:
    """The prompt of each uid, in order."""
    found: dict[str, bytes] = {}
    columns = (records.table.column(name).to_pylist() for name in ("uid", "prompt"))
    for uid, prompt in zip(*columns, strict=True):
        found.setdefault(uid, prompt or b"")
    return found
