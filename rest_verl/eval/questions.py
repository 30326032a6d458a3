"""The questions of a run: rows of benchmarks in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rest_verl.bfcl.data.files import unique_categories
from rest_verl.bfcl.data.memory import MEMORY_CATEGORIES, MemoryTask, memory_tasks
from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.bfcl.memory.store import empty_memory
from rest_verl.bfcl.verdict.checker import CATEGORIES
from rest_verl.core.tool_calls import ToolSchemas
from rest_verl.data.apibank import apibank_rows
from rest_verl.data.rows import Row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats.tools import tools_of_row

BFCL_V3_CATEGORIES = (*CATEGORIES, *MULTI_TURN_CATEGORIES)
BFCL_CATEGORIES = (*BFCL_V3_CATEGORIES, *MEMORY_CATEGORIES)


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        source: the row's data source, such as "bfcl_simple_python"; source and id identify the question.
        id: the benchmark's own id.
        index: its position in the run, from 0.
        row: prompt, ground truth and environment, as for training.
        after: source and id of the conversation whose final state this one begins with; None if there is none.
        row_after: function from that state to the row, which then replaces `row`.
        judged: whether it counts. Otherwise it is only asked for the state that it leaves.
    """

    source: str
    id: str
    index: int
    row: Row
    after: tuple[str, str] | None = None
    row_after: Callable[[Any], Row] | None = None
    judged: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """The key under which answers are found."""
        return self.source, self.id

    def beginning_with(self, state: Any) -> Question:
        """The question after the conversation that it follows has left this state."""
        return self if self.row_after is None else replace(self, row=self.row_after(state))

    @cached_property
    def tools(self) -> ToolSchemas:
        """The tools that the row offers."""
        return tools_of_row(self.row["extra_info"])


def bfcl_questions(
    categories: Iterable[str] = BFCL_V3_CATEGORIES,
    format: str = "rlla",
    template: PromptTemplate | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    only: Collection[str] | None = None,
) -> list[Question]:
    """Return BFCL's questions, always in the order of BFCL_CATEGORIES, each memory category after its conversations.

    Args:
        categories: names from BFCL_CATEGORIES.
        format, template: for the prompts (`data.prompt.make_prompt`).
        limit: only the first `limit` questions of each category, with the conversations that they are about; None for
            all.
        on_progress: called with the number of rows made and of all, separately for single-turn and multi-turn rows.
        only: ids of the questions to return; None for all.

    Raises:
        ValueError: a category is not in BFCL_CATEGORIES, none of these ids is in the categories, a data file is
            damaged, or a prompt cannot be made.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or one of its files, is missing.
    """
    wanted = set(unique_categories(categories, "BFCL category", BFCL_CATEGORIES))
    rows: list[Row] = []
    for known, make_rows in ((CATEGORIES, bfcl_rows), (MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows)):
        if chosen := [category for category in known if category in wanted]:
            rows += make_rows(chosen, format, template, on_progress)
    ids = None if only is None else frozenset(only)
    questions = _questions([row for row in rows if ids is None or row["extra_info"]["id"] in ids], limit)
    for category in MEMORY_CATEGORIES:
        if category in wanted:
            questions += _memory_questions(category, limit, len(questions), format, template, ids)
    if ids is not None and not questions:
        raise ValueError(f"none of the {len(ids)} questions that were chosen is in {', '.join(sorted(wanted))}")
    return questions


def _memory_questions(
    category: str,
    limit: int | None,
    first: int,
    format: str,
    template: PromptTemplate | None,
    only: Collection[str] | None,
) -> list[Question]:
    """The questions of a memory category, after the conversations of their scenarios."""
    tasks = memory_tasks(category)
    asked = [task for task in tasks if task.accepted is not None and (only is None or task.id in only)][:limit]
    scenarios = {task.scenario for task in asked}
    conversations = [task for task in tasks if task.accepted is None and task.scenario in scenarios]
    sources = {task.id: task.data_source for task in conversations}

    def question(index: int, task: MemoryTask) -> Question:
        row = partial(task.row, index=index, format=format, template=template)
        after = None if task.after is None else (sources[task.after], task.after)
        begun = row(empty_memory(task.backend))
        row_after = None if after is None else row
        return Question(task.data_source, task.id, index, begun, after, row_after, judged=task.accepted is not None)

    return [question(index, task) for index, task in enumerate([*conversations, *asked], start=first)]


def apibank_questions(
    paths: Sequence[str | Path],
    level: int | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Question]:
    """Return the questions of API-Bank's files, by level; their prompts ask for the format rlla.

    Raises as `data.apibank.apibank_rows`.

    Args:
        paths, level, on_progress: as for `data.apibank.apibank_rows`.
        limit: only the first `limit` questions of each level; None for all.
    """
    rows = apibank_rows(paths, level, on_progress)
    return _questions(sorted(rows, key=lambda row: row["data_source"]), limit)  # a stable sort


def _questions(rows: Iterable[Row], limit: int | None) -> list[Question]:
    """The first rows of each data source, numbered."""
    taken: Counter[str] = Counter()
    questions: list[Question] = []
    for row in rows:
        source = row["data_source"]
        if limit is None or taken[source] < limit:
            taken[source] += 1
            questions.append(Question(source, row["extra_info"]["id"], len(questions), row))
    return questions
