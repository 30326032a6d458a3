"""The multi-turn categories of the Berkeley Function Calling Leaderboard (BFCL) as rows with an environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from rest_verl.bfcl.data.answers import call_of_source
from rest_verl.bfcl.data.docs import functions_with_hints
from rest_verl.bfcl.data.files import INSTALL, bfcl_folder, json_lines, unique_categories
from rest_verl.bfcl.multi_turn.apis import API_MODULES, methods
from rest_verl.bfcl.multi_turn.environment import read_task
from rest_verl.core.tool_calls import ToolCall
from rest_verl.data.prompt import Message, later_messages, make_prompt, tool_list
from rest_verl.data.rows import Row, RowEnvironment, make_row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats import get_format
from rest_verl.formats.tools import tool_schemas, tools_text

MULTI_TURN_CATEGORIES = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)


@dataclass(frozen=True)
class _Question:
    """A task from BFCL's files, and the calls that are due."""

    category: str
    where: str
    entry: Mapping[str, Any]
    due: list[list[ToolCall]]

    @property
    def missed(self) -> dict[str, list[str]]:
        """The tools that are added later, by the number of the turn that adds them."""
        return self.entry.get("missed_function", {})

    def docs(self) -> dict[str, dict[str, Any]]:
        """BFCL's docs of all tools by name, with those that a later turn adds."""
        return {doc["name"]: doc for name in self.entry["involved_classes"] for doc in _docs(name)}

    def functions(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Docs of the tools as a model sees them: of these names, or of all tools in the first turn."""
        docs = self.docs()
        if names is None:
            hidden = set[str]().union(*self.missed.values())
            names = [name for name in docs if name not in hidden]
        return functions_with_hints([docs[name] for name in names], self.category)


def bfcl_multi_turn_rows(
    categories: Iterable[str] = MULTI_TURN_CATEGORIES,
    format: str = "rlla",
    template: PromptTemplate | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Return the rows of these categories in order, without repetitions, in verl's layout.

    data_source is "bfcl_<category>", id is BFCL's own, split is "test". The prompt lists the tools and holds the first
    turn; the messages of later turns are arguments of the environment `bfcl_multi_turn`, ready for the chat template.
    A turn that adds tools lists them; extra_info.tools has all of them. ground_truth is the calls of each turn as JSON
    text.

    Args:
        categories: names from MULTI_TURN_CATEGORIES.
        format, template: for the prompt (`make_prompt`).
        on_progress: called with the number of rows made and of all rows.

    Raises:
        ValueError: a category is not in MULTI_TURN_CATEGORIES, a data file is damaged, or the prompt cannot be made.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or one of its files, is missing.
    """
    wanted = unique_categories(categories, "multi-turn category of BFCL", MULTI_TURN_CATEGORIES)
    get_format(format)  # otherwise the error would name a question
    asked = [question for category in wanted for question in _read_questions(category)]
    rows = []
    for index, question in enumerate(asked):
        try:
            rows.append(_row(question, index, format, template))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{question.where}: {error}") from error
        on_progress(index + 1, len(asked))
    return rows


def _row(question: _Question, index: int, format: str, template: PromptTemplate | None) -> Row:
    entry = question.entry
    first, *later = entry["question"]
    kwargs = {
        "id": entry["id"],
        "initial_config": entry["initial_config"],
        "involved_classes": entry["involved_classes"],
        "turns": [
            later_messages(_user_messages(question, number, messages, format, template), format)
            for number, messages in enumerate(later, start=1)
        ],
        "ground_truth": [[asdict(call) for call in calls] for calls in question.due],
        "long_context": question.category == "multi_turn_long_context",
        "held_out": _held_out(question),
    }
    read_task(kwargs)  # raises if BFCL's files are faulty
    return make_row(
        f"bfcl_{question.category}",
        index,
        entry["id"],
        "test",
        make_prompt(question.functions(), first, format, template),
        json.dumps(kwargs["ground_truth"], ensure_ascii=False),
        RowEnvironment("bfcl_multi_turn", kwargs),
        tools_text(tool_schemas(question.functions(question.docs()))),
    )


def _user_messages(
    question: _Question, number: int, messages: list[Message], format: str, template: PromptTemplate | None
) -> list[Message]:
    """The user's messages in a later turn; a turn that adds tools has none in BFCL's data, so one is added here."""
    if not (names := question.missed.get(str(number))):
        return messages
    tools = tool_list(question.functions(names), format, template)
    brought = f"These tools are new, and you can call them from now on:\n\n{tools}\n\nGo on with what I asked for."
    return [*messages, {"role": "user", "content": brought}]


def _held_out(question: _Question) -> dict[str, list[str]]:
    """The tools that cannot be called before the turn that adds them.

    They exclude a tool that is due earlier (only in miss_func_49): BFCL does not show it before that turn, but its
    executor runs it.
    """
    held_out = {}
    for turn, names in question.missed.items():
        early = {call.name for calls in question.due[: int(turn)] for call in calls}
        held_out[turn] = [name for name in names if name not in early]
    return held_out


def _read_questions(category: str) -> Iterator[_Question]:
    path = bfcl_folder() / "data" / f"BFCL_v4_{category}.json"
    answer_path = path.parent / "possible_answer" / path.name
    answers = {answer["id"]: answer for answer in json_lines(answer_path)}
    for entry in json_lines(path):
        where = f"{path}, {entry['id']}"
        if entry["id"] not in answers:
            raise ValueError(f"{where}: {answer_path} has no answer to it. Reinstall it: {INSTALL}")
        try:
            functions = {name: call for one in entry["involved_classes"] for name, call in methods(one).items()}
            due = [
                [call_of_source(source, functions) for source in turn] for turn in answers[entry["id"]]["ground_truth"]
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{where}: does not have BFCL's form: {error}. Reinstall it: {INSTALL}") from error
        yield _Question(category, where, entry, due)


@cache
def _docs(class_name: str) -> list[dict[str, Any]]:
    path = bfcl_folder() / "data" / "multi_turn_func_doc" / f"{API_MODULES[class_name]}.json"
    return list(json_lines(path, key="name"))
