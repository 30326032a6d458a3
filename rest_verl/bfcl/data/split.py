"""Which questions of BFCL belong together, so that a split keeps them on one side.

A question is known by BFCL's id, which no wire format or prompt changes. Questions under several ids are one: those
with the same dialogue, the variants of a multi-turn scenario, which share its number, and a memory task with the
different backends. The groups are those of the
whole installed BFCL, so a choice of categories moves no question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rest_verl.bfcl.data.files import bfcl_folder, json_lines
from rest_verl.bfcl.data.memory import MEMORY_CATEGORIES, memory_tasks
from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES
from rest_verl.bfcl.verdict.checker import CATEGORIES
from rest_verl.data.question import plain_question
from rest_verl.data.rows import Row


def bfcl_question_of() -> Callable[[Row], str]:
    """Return the function from a row of BFCL to its question: the first id of those that belong together.

    For `split_by_hash`. It raises ValueError for a row whose extra_info.id is not BFCL's.

    Raises:
        ValueError: a data file is damaged.
        ModuleNotFoundError: bfcl_eval is missing.
    """
    first_ids = first_of_group(_marks())

    def question_of(row: Row) -> str:
        id = (row.get("extra_info") or {}).get("id")
        if id not in first_ids:
            raise ValueError(f"extra_info.id={id!r} is not an id of the installed BFCL: make the rows with it again")
        return first_ids[id]

    return question_of


def first_of_group(marked: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """Group ids by common marks: ids with a mark in common, directly or through others, are one group.

    Args:
        marked: (id, its marks).

    Returns:
        id -> the id of its group that was given first.
    """
    above: dict[str, str] = {}

    def first(id: str) -> str:
        while above[id] != id:
            id = above[id]
        return id

    order: dict[str, int] = {}
    owner: dict[str, str] = {}
    for id, marks in marked:
        order.setdefault(id, len(order))
        above.setdefault(id, id)
        for mark in marks:
            one, other = sorted((first(id), first(owner.setdefault(mark, id))), key=order.__getitem__)
            above[other] = one
    return {id: first(id) for id in above}


def _marks() -> Iterator[tuple[str, list[str]]]:
    """(id, marks) of every question of the installed BFCL; what it has not, no row can be made of."""
    for categories, marks in ((CATEGORIES, _dialogue), (MULTI_TURN_CATEGORIES, _scenario)):
        for category in categories:
            path = bfcl_folder() / "data" / f"BFCL_v4_{category}.json"
            if path.is_file():
                for entry in json_lines(path):
                    yield str(entry["id"]), list(marks(entry))
    if (bfcl_folder() / "data" / "BFCL_v4_memory.json").is_file():
        for category in MEMORY_CATEGORIES:
            for task in memory_tasks(category):
                yield task.id, [json.dumps(["memory", task.id.removeprefix(category)])]


def _dialogue(entry: Mapping[str, Any]) -> Iterator[str]:
    """The mark of a single-turn question: its messages but the system's."""
    yield json.dumps(["dialogue", *(plain_question(text) for text in _texts(entry, but=("system",)))])


def _scenario(entry: Mapping[str, Any]) -> Iterator[str]:
    """The marks of a multi-turn task: its number, its state at the start, and each request."""
    yield json.dumps(["scenario", str(entry["id"]).rpartition("_")[2]])
    if state := entry.get("initial_config"):
        yield json.dumps(["state", state], sort_keys=True)
    for text in _texts(entry):
        yield json.dumps(["request", plain_question(text)])


def _texts(entry: Mapping[str, Any], but: tuple[str, ...] = ()) -> Iterator[str]:
    # a file in another form is refused where its rows are made, with a message that names the question
    turns = entry.get("question")
    for turn in turns if isinstance(turns, list) else []:
        for message in turn if isinstance(turn, list) else []:
            if isinstance(message, Mapping) and message.get("role") not in but:
                yield str(message.get("content"))
