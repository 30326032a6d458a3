"""The questions of a run: rows of benchmarks in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rest_verl.bfcl.data.files import unique_categories
from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.bfcl.verdict.checker import CATEGORIES
from rest_verl.core.tool_calls import ToolSchemas
from rest_verl.data.apibank import apibank_rows
from rest_verl.data.rows import Row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats.tools import tools_of_row

BFCL_CATEGORIES = (*CATEGORIES, *MULTI_TURN_CATEGORIES)


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        source: the row's data source, such as "bfcl_simple_python"; source and id identify the question.
        id: the benchmark's own id.
        index: its position in the run, from 0.
        row: prompt, ground truth and environment, as for training.
    """

    source: str
    id: str
    index: int
    row: Row

    @property
    def key(self) -> tuple[str, str]:
        """The key under which answers are found."""
        return self.source, self.id

    @cached_property
    def tools(self) -> ToolSchemas:
        """The tools that the row offers."""
        return tools_of_row(self.row["extra_info"])


def bfcl_questions(
    categories: Iterable[str] = BFCL_CATEGORIES,
    format: str = "rlla",
    template: PromptTemplate | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Question]:
    """Return BFCL's questions, always in the order of BFCL_CATEGORIES.

    Args:
        categories: names from BFCL_CATEGORIES.
        format, template: for the prompts (`data.prompt.make_prompt`).
        limit: only the first `limit` questions of each category; None for all.
        on_progress: called with the number of rows made and of all, separately for single-turn and multi-turn rows.

    Raises:
        ValueError: a category is not in BFCL_CATEGORIES, a data file is damaged, or a prompt cannot be made.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or one of its files, is missing.
    """
    wanted = set(unique_categories(categories, "BFCL category", BFCL_CATEGORIES))
    rows: list[Row] = []
    for known, make_rows in ((CATEGORIES, bfcl_rows), (MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows)):
        if chosen := [category for category in known if category in wanted]:
            rows += make_rows(chosen, format, template, on_progress)
    return _questions(rows, limit)


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
