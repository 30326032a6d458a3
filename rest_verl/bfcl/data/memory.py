"""The memory categories of BFCL V4: questions about what earlier conversations said, and those conversations.

A scenario is a chain of conversations with one user (10 with a student, 5 with a patient, ...) and questions about
them. A conversation begins with the memory that the one before it left, and all questions of a scenario with what its
last one left. So a row needs a memory: `rest-verl eval` plays the chain with the model that it evaluates, as
the leaderboard does; for training, memories are written beforehand (`bfcl.data.memories`).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from rest_verl.bfcl.data.docs import functions_with_hints
from rest_verl.bfcl.data.files import INSTALL, bfcl_folder, json_lines, unique_categories
from rest_verl.bfcl.memory.judge import mentions
from rest_verl.bfcl.memory.store import BACKENDS, Memory, MemoryStore, empty_memory
from rest_verl.data.prompt import later_messages, make_prompt
from rest_verl.data.rows import Row, RowEnvironment, make_row
from rest_verl.data.template import PromptTemplate
from rest_verl.formats import get_format
from rest_verl.formats.tools import tool_schemas, tools_text

PREREQUISITES = "_prereq"  # ends the data source of conversations
MEMORY_CATEGORIES = tuple(f"memory_{backend}" for backend in BACKENDS)
SCENARIOS = ("student", "customer", "finance", "healthcare", "notetaker")  # in BFCL's order


@dataclass(frozen=True)
class MemoryTask:
    """A conversation or a question of a memory category.

    Attributes:
        category: one of MEMORY_CATEGORIES.
        id: BFCL's own id in this category.
        scenario: one of SCENARIOS.
        topic: of a conversation; "" for a question.
        said: the user's messages by turn.
        after: id of the conversation whose memory it begins with; None for the first one of its scenario.
        accepted: of a question, the values that BFCL accepts; None for a conversation.
        source: of a question, what the user said that answers it, as BFCL quotes it; "" for a conversation.
        facts: of a conversation, the accepted values of each question that it answers.
    """

    category: str
    id: str
    scenario: str
    topic: str
    said: list[list[Mapping[str, Any]]]
    after: str | None
    accepted: list[str] | None = None
    source: str = ""
    facts: tuple[list[str], ...] = ()

    @property
    def backend(self) -> str:
        return self.category.removeprefix("memory_")

    @property
    def data_source(self) -> str:
        """Conversations have one of their own, since the leaderboard does not judge them."""
        return f"bfcl_{self.category}{PREREQUISITES if self.accepted is None else ''}"

    def row(self, memory: Memory, index: int, format: str = "rlla", template: PromptTemplate | None = None) -> Row:
        """The task as a row that begins with this memory; arguments as in `bfcl_memory_rows`."""
        functions = functions_with_hints(_docs(self.backend), self.category)
        first, *later = self.said
        system = {"role": "system", "content": _instruction(self.scenario, self.backend, memory)}
        if self.accepted is not None:
            system["content"] += "\n\n" + _texts().ADDITIONAL_SYSTEM_PROMPT_FOR_AGENTIC_RESPONSE_FORMAT
        kwargs = {
            "backend": self.backend,
            "memory": memory,
            "turns": [later_messages(messages, format) for messages in later],
            "facts": None if self.accepted is not None else list(self.facts),
        }
        return make_row(
            self.data_source,
            index,
            self.id,
            "test",
            make_prompt(functions, [system, *first], format, template),
            json.dumps(self.accepted or [], ensure_ascii=False),
            RowEnvironment("bfcl_memory", kwargs),
            tools_text(tool_schemas(functions)),
        )


def bfcl_memory_rows(
    memories: Callable[[str], Mapping[str, Memory]],
    categories: Iterable[str] = MEMORY_CATEGORIES,
    format: str = "rlla",
    template: PromptTemplate | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Return the rows of these categories in order: the conversations of each, then its questions.

    data_source is "bfcl_<category>" for questions and "bfcl_<category>_prereq" for conversations, id is BFCL's own,
    split is "test". A conversation that tells nothing that a question asks for has no row.

    Args:
        memories: function from a category to the memory after each of its conversations, by id
            (`bfcl.data.memories`).
        categories: names from MEMORY_CATEGORIES.
        format, template: for the prompt (`make_prompt`).
        on_progress: called with the number of rows made and of all rows.

    Raises:
        ValueError: a category is not in MEMORY_CATEGORIES, a data file is damaged, a memory is missing, or the prompt
            cannot be made.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, rank_bm25 or one of the files is missing.
    """
    wanted = unique_categories(categories, "memory category of BFCL", MEMORY_CATEGORIES)
    get_format(format)  # otherwise the error would name a question
    asked = [task for name in wanted for task in memory_tasks(name) if task.accepted is not None or task.facts]
    written = {name: memories(name) for name in wanted}
    rows = []
    for index, task in enumerate(asked):
        if task.after is None:
            memory = empty_memory(task.backend)
        elif task.after in written[task.category]:
            memory = written[task.category][task.after]
        else:
            raise ValueError(f"{task.id}: there is no memory of the conversation before it, {task.after}")
        rows.append(task.row(memory, index, format, template))
        on_progress(index + 1, len(asked))
    return rows


def memory_tasks(category: str) -> list[MemoryTask]:
    """Return the conversations of a category, by scenario and in their order, then its questions.

    Raises:
        ValueError: the category is not in MEMORY_CATEGORIES, or a data file is damaged.
        ModuleNotFoundError, FileNotFoundError: bfcl_eval, or one of its files, is missing.
    """
    unique_categories(category, "memory category of BFCL", MEMORY_CATEGORIES)
    folder = bfcl_folder() / "data"
    path = folder / "BFCL_v4_memory.json"
    answer_path = folder / "possible_answer" / path.name
    answers = {answer["id"]: answer for answer in json_lines(answer_path)}
    conversations: list[MemoryTask] = []
    questions: list[MemoryTask] = []
    last: dict[str, str] = {}

    def task(entry: Mapping[str, Any], where: str, **further: Any) -> MemoryTask:
        try:
            return MemoryTask(
                category,
                entry["id"].replace("memory", category),
                entry["scenario"],
                entry.get("topic", ""),
                entry["question"],
                last.get(entry["scenario"]),
                **further,
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: does not have BFCL's form: {error!r}. Reinstall it: {INSTALL}") from error

    entries = list(json_lines(path))
    for scenario in SCENARIOS:
        of_scenario = [answers[entry["id"]] for entry in entries if entry["scenario"] == scenario]
        conversation_path = folder / "memory_prereq_conversation" / f"memory_{scenario}.json"
        for entry in json_lines(conversation_path):
            facts = _facts(entry, of_scenario)
            conversations.append(task(entry, f"{conversation_path}, {entry['id']}", facts=facts))
            last[scenario] = conversations[-1].id
    for entry in entries:
        answer = answers[entry["id"]]
        further = {"accepted": answer["ground_truth"], "source": answer["source"]}
        questions.append(task(entry, f"{path}, {entry['id']}", **further))
    return [*conversations, *questions]


def _facts(conversation: Mapping[str, Any], answers: Iterable[Mapping[str, Any]]) -> tuple[list[str], ...]:
    """The accepted values of the questions that a conversation answers: it holds their sources, and values that BFCL
    finds in it."""
    told = "\n".join(message["content"] for turn in conversation["question"] for message in turn)
    words = plain_words(told)
    return tuple(
        answer["ground_truth"]
        for answer in answers
        if all(part in words for part in quoted_parts(answer["source"])) and mentions(told, answer["ground_truth"])
    )


@cache
def quoted_parts(source: str) -> tuple[str, ...]:
    """The parts of what the user said that BFCL quotes as a question's source, in plain words.

    BFCL writes "..." where it leaves something out, and at times begins with a heading of its own.
    """
    first, *further = source.replace("…", "...").split("...")
    parts = [first.rpartition(": ")[2], *further]
    return tuple(plain for part in parts if (plain := plain_words(part)))


def plain_words(text: str) -> str:
    """Text in lower case without punctuation, with one blank between words."""
    return " ".join(re.sub(r"[\W_]+", " ", text.lower()).split())


def _instruction(scenario: str, backend: str, memory: Memory) -> str:
    """The system message of a memory task, which shows the memory."""
    texts = _texts()
    unified = backend == "rec_sum"
    template = texts.MEMORY_BACKEND_INSTRUCTION_UNIFIED if unified else texts.MEMORY_BACKEND_INSTRUCTION_CORE_ARCHIVAL
    shown = MemoryStore(backend, memory).shown()
    return template.format(scenario_setting=texts.MEMORY_AGENT_SETTINGS[scenario], memory_content=shown)


def _texts() -> Any:
    """BFCL's own system messages, in a module that imports nothing."""
    return importlib.import_module("bfcl_eval.constants.default_prompts")


@cache
def _docs(backend: str) -> list[dict[str, Any]]:
    path = bfcl_folder() / "data" / "multi_turn_func_doc" / f"memory_{backend}.json"
    return list(json_lines(path, key="name"))
