"""Read the data files of the package `bfcl_eval` without importing it.

Installed with `--no-deps`, as recommended here, its modules lack their dependencies; only the files are needed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rest_verl.common.names import unknown_name

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"


@dataclass(frozen=True)
class Question:
    """One question of BFCL.

    Attributes:
        id: BFCL's own id.
        where: file and id, for messages.
        dialogue: the messages of its only turn.
        functions: BFCL's docs of the tools; a few questions have none.
        possible_answer: [{name: {parameter: [accepted values]}}, ...]; empty if BFCL gives none.
    """

    id: str
    where: str
    dialogue: list[Mapping[str, Any]]
    functions: list[Mapping[str, Any]]
    possible_answer: list[Mapping[str, Mapping[str, Any]]]


def bfcl_folder() -> Path:
    """Return the folder of the installed package `bfcl_eval` (its `data/` holds the questions), without importing it.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"BFCL's data is not installed. Run: {INSTALL}", name="bfcl_eval")
    return Path(next(iter(spec.submodule_search_locations)))


def bfcl_version() -> str:
    """Return the version of the installed package `bfcl-eval`; ModuleNotFoundError says how to install it."""
    try:
        return importlib.metadata.version("bfcl-eval")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(f"BFCL's package is not installed. Run: {INSTALL}", name="bfcl_eval") from error


def read_questions(category: str, has_answers: bool) -> list[Question]:
    """Read all questions of a single-turn category.

    Args:
        category: as in its file's name.
        has_answers: whether BFCL has a file of possible answers for it.

    Raises:
        ValueError: a file is damaged; the message names file and line, or file and id.
        ModuleNotFoundError, FileNotFoundError: the package, or one of its files, is missing.
    """
    path = bfcl_folder() / "data" / f"BFCL_v4_{category}.json"
    answer_path = path.parent / "possible_answer" / path.name
    answers = {answer["id"]: answer for answer in json_lines(answer_path)} if has_answers else {}
    questions = []
    for entry in json_lines(path):
        where = f"{path}, {entry['id']}"
        possible_answer: list[Any] = []
        if has_answers:
            if entry["id"] not in answers:
                raise ValueError(f"{where}: {answer_path} has no answer to it. Reinstall it: {INSTALL}")
            possible_answer = _list(answers[entry["id"]], "ground_truth", answer_path)
            _check_calls(possible_answer, where)
        dialogue = _list(entry, "question", path)[0]
        if not isinstance(dialogue, list) or not all(isinstance(message, Mapping) for message in dialogue):
            raise ValueError(f"{where}: the question's first turn must be a list of messages, got {dialogue!r:.200}")
        # some irrelevance questions have no tools
        functions = _list(entry, "function", path, may_be_empty=category.endswith("irrelevance"))
        questions.append(Question(str(entry["id"]), where, dialogue, functions, possible_answer))
    return questions


def json_lines(path: Path, key: str = "id") -> Iterator[dict[str, Any]]:
    """Read a data file with one JSON object per line, each with this key.

    Raises:
        ValueError: a line is invalid; the message names it.
        FileNotFoundError: the file does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: this is another version of bfcl_eval. Run: {INSTALL}")
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                entry = json.loads(line)
            except ValueError as error:  # broken JSON or broken UTF-8
                raise ValueError(f"{path}, line {number}: not JSON ({error}). Reinstall it: {INSTALL}") from error
            if not isinstance(entry, dict) or key not in entry:
                raise ValueError(
                    f"{path}, line {number}: not a JSON object with the key {key!r}. Reinstall it: {INSTALL}"
                )
            yield entry


def _list(entry: Mapping[str, Any], name: str, path: Path, may_be_empty: bool = False) -> list[Any]:
    value = entry.get(name)
    if not isinstance(value, list) or not (value or may_be_empty):
        raise ValueError(f"{path}, {entry['id']}: {name!r} is not a list, or is empty. Reinstall it: {INSTALL}")
    return value


def _check_calls(calls: list[Any], where: str) -> None:
    for call in calls:
        if not isinstance(call, Mapping) or not all(isinstance(accepted, Mapping) for accepted in call.values()):
            raise ValueError(f"{where}: a call must be {{name: {{argument: [accepted, ...]}}}}, got {call!r:.200}")


def unique_categories(categories: str | Iterable[str], kind: str, known: Sequence[str]) -> list[str]:
    """Return the categories in order without repetitions; ValueError for an unknown one."""
    wanted = [categories] if isinstance(categories, str) else list(dict.fromkeys(categories))
    for category in wanted:
        if category not in known:
            raise ValueError(unknown_name(kind, category, known))
    return wanted
