"""The single-turn categories of the Berkeley Function Calling Leaderboard (BFCL) as rows for verl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from rest_verl.bfcl.data.answers import one_right_answer
from rest_verl.bfcl.data.docs import functions_with_hints
from rest_verl.bfcl.data.files import Question, read_questions, unique_categories
from rest_verl.bfcl.verdict.checker import CATEGORIES
from rest_verl.data.prompt import make_prompt
from rest_verl.data.rows import Row, make_row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats import get_format
from rest_verl.formats.tools import tool_schemas, tools_text

# BFCL only checks whether these contain a call, and has no call to compare with
_WITHOUT_ANSWERS = ("irrelevance", "live_irrelevance", "live_relevance")


def bfcl_rows(
    categories: Iterable[str],
    format: str = "rlla",
    template: PromptTemplate | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Return the rows of these categories in order, without repetitions, in verl's layout.

    data_source is "bfcl_<category>", id is BFCL's own, split is "test". ground_truth is a JSON object as text:
    {"answer": one right answer in the rlla format, "functions": BFCL's unchanged docs, "possible_answer":
    [{name: {parameter: [accepted values]}}, ...], "category": str}. The prompt shows the docs with BFCL's hints about
    the language; extra_info.tools has their types as shown there, so a Java value is text.

    Args:
        categories: names from CATEGORIES.
        format, template: for the prompt (`make_prompt`).
        on_progress: called with the number of rows made and of all rows.

    Raises:
        ValueError: a category is not in CATEGORIES, a data file is damaged, or the prompt cannot be made.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or one of its files, is missing.
    """
    wanted = unique_categories(categories, "BFCL category", CATEGORIES)
    get_format(format)  # otherwise the error would name a question
    asked = [
        (category, question)
        for category in wanted
        for question in read_questions(category, has_answers=category not in _WITHOUT_ANSWERS)
    ]
    rows = []
    for index, (category, question) in enumerate(asked):
        rows.append(_row(category, question, index, format, template))
        on_progress(index + 1, len(asked))
    return rows


def _row(category: str, question: Question, index: int, format: str, template: PromptTemplate | None) -> Row:
    try:
        functions = functions_with_hints(question.functions, category)
        prompt = make_prompt(functions, question.dialogue, format, template)
    except ValueError as error:
        raise ValueError(f"{question.where}: {error}") from error
    truth = {
        "answer": one_right_answer(question, category),
        "functions": question.functions,
        "possible_answer": question.possible_answer,
        "category": category,
    }
    ground_truth = json.dumps(truth, ensure_ascii=False)
    tools = tools_text(tool_schemas(functions))
    return make_row(f"bfcl_{category}", index, question.id, "test", prompt, ground_truth, tools=tools)
