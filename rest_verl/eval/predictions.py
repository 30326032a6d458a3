"""The answers to score, from a run or from any file of answers, and their questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rest_verl.bfcl.data.files import bfcl_version
from rest_verl.bfcl.data.memory import PREREQUISITES
from rest_verl.core.tool_calls import WireFormat
from rest_verl.data.data_set import file_source
from rest_verl.eval.answers import Answer, load_answers
from rest_verl.eval.manifest import ANSWERS, Run, read_run
from rest_verl.eval.questions import BFCL_CATEGORIES, Question, apibank_questions, bfcl_questions
from rest_verl.formats import get_format

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predictions:
    """Answers and their questions.

    Attributes:
        model: name for reports.
        format: wire format of the answers.
        questions: all questions that were asked.
        answers: in any order.
        settings: the run's settings, for reports.
        path: file of the answers.
    """

    model: str
    format: str
    questions: Sequence[Question]
    answers: Sequence[Answer]
    settings: dict[str, Any]
    path: Path

    @property
    def wire_format(self) -> WireFormat:
        return get_format(self.format)


def load_run(
    folder: Path, files: Sequence[Path] = (), on_progress: OnProgress = lambda done, total: None
) -> Predictions:
    """Read a run.

    Args:
        folder: the run's --out folder.
        files: API-Bank's files as given to the run; none for BFCL.
        on_progress: called with the number of questions read and of all.

    Raises:
        ValueError: the run is damaged, or its questions differ from those available now.
        FileNotFoundError: there is no run, or a file is missing.
    """
    run = read_run(folder)
    if run.benchmark == "apibank":
        _check_sources(folder, run, [file_source(path) for path in files], "give the same files with --apibank")
        questions = apibank_questions(files, run.level, run.limit, on_progress)
    else:
        here = [{"package": "bfcl-eval", "version": bfcl_version()}]
        _check_sources(folder, run, here, "install that version")
        # scoring does not use prompts, so the run's template need not exist any more
        questions = bfcl_questions(run.categories, run.format, limit=run.limit, on_progress=on_progress, only=run.only)
    path = folder / ANSWERS
    return Predictions(run.model, run.format, questions, load_answers(path), asdict(run), path)


def load_file(
    path: Path,
    format: str,
    limit: int | None = None,
    files: Sequence[Path] = (),
    on_progress: OnProgress = lambda done, total: None,
) -> Predictions:
    """Read answers that belong to no run.

    Args:
        path: file of answers (`eval.answers`); the questions are those of all data sources named in it.
        format: wire format of the answers.
        limit: the answers cover only the first `limit` questions of each data source; None for all.
        files: API-Bank's files, if it is among the data sources.
        on_progress: called with the number of questions read and of all.

    Raises:
        ValueError: a line is not an answer, or a data source is unknown.
        FileNotFoundError: a file is missing.
    """
    answers = load_answers(path)
    get_format(format)
    sources = Counter(answer.source for answer in answers)
    for source in [source for source in sources if source.endswith(PREREQUISITES)]:
        del sources[source]  # asked with the questions that they belong to
    categories = [category for category in BFCL_CATEGORIES if sources.pop(f"bfcl_{category}", 0)]
    questions = bfcl_questions(categories, format, limit=limit, on_progress=on_progress) if categories else []
    if sources and not files:
        raise ValueError(f"{path}: answers to {', '.join(sources)}; if API-Bank's, give its files: --apibank FILE")
    if sources:
        questions += [one for one in apibank_questions(files, None, limit, on_progress) if one.source in sources]
    settings = {"model": path.stem, "format": format, "limit": limit}
    return Predictions(path.stem, format, questions, answers, settings, path)


def _check_sources(folder: Path, run: Run, here: list[dict[str, str]], remedy: str) -> None:
    if run.sources != here:
        raise ValueError(f"{folder}: its questions are from {run.sources}, but here are {here}: {remedy}")
