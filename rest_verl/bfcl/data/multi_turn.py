"""The multi-turn categories of the Berkeley Function Calling Leaderboard (BFCL) as rows that act on an environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from rest_verl.bfcl.data.answers import call_of_source
from rest_verl.bfcl.data.docs import shown_functions
from rest_verl.bfcl.data.files import INSTALL, bfcl_folder, each_once, json_lines
from rest_verl.bfcl.multi_turn.apis import API_MODULES, methods
from rest_verl.bfcl.multi_turn.environment import read_task
from rest_verl.core.tool_calls import ToolCall
from rest_verl.data.prompt import Message, later_messages, make_prompt, tool_list
from rest_verl.data.rows import Row, RowEnvironment, make_row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats import get_format

MULTI_TURN_CATEGORIES = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)


@dataclass(frozen=True)
class _Question:
    """A task as BFCL's files have it, and the calls that are due."""

    category: str
    where: str
    entry: Mapping[str, Any]
    due: list[list[ToolCall]]

    @property
    def missed(self) -> dict[str, list[str]]:
        """The tools that come later, by the number of the turn that brings them."""
        return self.entry.get("missed_function", {})

    def functions(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Docs of the tools, as they are shown: of these names, or of all that the first turn has."""
        docs = {doc["name"]: doc for name in self.entry["involved_classes"] for doc in _docs(name)}
        if names is None:
            hidden = set[str]().union(*self.missed.values())
            names = [name for name in docs if name not in hidden]
        return shown_functions([docs[name] for name in names], self.category)


def bfcl_multi_turn_rows(
    categories: Iterable[str] = MULTI_TURN_CATEGORIES,
    format: str = "rlla",
    template: PromptTemplate | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Return the rows of these categories, each once and in their order, in the layout that verl reads.

    data_source is "bfcl_<category>", id is BFCL's own, split is "test". The prompt lists the tools and holds the first
    turn; what the later turns say is in the arguments of the environment `bfcl_multi_turn`, ready for the chat
    template. A turn that brings tools lists them. ground_truth is the calls of each turn as JSON text.

    Args:
        categories: out of MULTI_TURN_CATEGORIES.
        format, template: of the prompt (`make_prompt`).
        on_progress: called with the number of rows made and of all rows.

    Raises:
        ValueError: a category is not in MULTI_TURN_CATEGORIES, a data file is damaged, or the prompt cannot be made.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or a file of it, is not there.
    """
    wanted = each_once(categories, "multi-turn category of BFCL", MULTI_TURN_CATEGORIES)
    get_format(format)  # else the error would name a question
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
            later_messages(_said(question, number, said, format, template), format)
            for number, said in enumerate(later, start=1)
        ],
        "ground_truth": [[asdict(call) for call in calls] for calls in question.due],
        "long_context": question.category == "multi_turn_long_context",
        "held_out": _held_out(question),
    }
    read_task(kwargs)  # what the environment would refuse is a fault of BFCL's files
    return make_row(
        f"bfcl_{question.category}",
        index,
        entry["id"],
        "test",
        make_prompt(question.functions(), first, format, template),
        json.dumps(kwargs["ground_truth"], ensure_ascii=False),
        RowEnvironment("bfcl_multi_turn", kwargs),
    )


def _said(
    question: _Question, number: int, said: list[Message], format: str, template: PromptTemplate | None
) -> list[Message]:
    """What the user says in a later turn; where the turn brings tools BFCL's data says nothing, so it is said here."""
    if not (names := question.missed.get(str(number))):
        return said
    tools = tool_list(question.functions(names), format, template)
    brought = f"These tools are new, and you can call them from now on:\n\n{tools}\n\nGo on with what I asked for."
    return [*said, {"role": "user", "content": brought}]


def _held_out(question: _Question) -> dict[str, list[str]]:
    """The tools that cannot be called before the turn that brings them.

    A tool that is due before is not among them: BFCL never shows it by then (of all tasks in miss_func_49 alone), but
    its executor runs it.
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
            raise ValueError(f"{where}: not as BFCL writes it: {error}. Reinstall it: {INSTALL}") from error
        yield _Question(category, where, entry, due)


@cache
def _docs(class_name: str) -> list[dict[str, Any]]:
    path = bfcl_folder() / "data" / "multi_turn_func_doc" / f"{API_MODULES[class_name]}.json"
    return list(json_lines(path, key="name"))
