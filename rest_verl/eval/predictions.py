"""What is scored: the answers of a run, or a file of answers from anywhere, and the questions that they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rest_verl.bfcl.data.files import bfcl_version
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
        model: a name for reports.
        format: wire format of the answers.
        questions: all that were asked.
        answers: in any order.
        settings: of the run, for reports.
        path: of the answers.
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
        folder: the --out of a command that asked.
        files: of API-Bank, as they were given to that command; none for BFCL.
        on_progress: called while questions are read, with those read and all.

    Raises:
        ValueError: the run is damaged, or its questions were others than those that are here now.
        FileNotFoundError: there is no run, or no file.
    """
    run = read_run(folder)
    if run.benchmark == "apibank":
        _check_sources(folder, run, [file_source(path) for path in files], "give the same files with --apibank")
        questions = apibank_questions(files, run.level, run.limit, on_progress)
    else:
        here = [{"package": "bfcl-eval", "version": bfcl_version()}]
        _check_sources(folder, run, here, "install that version")
        # what scores does not look at prompts, so a template that was given need not be there any more
        questions = bfcl_questions(run.categories, run.format, limit=run.limit, on_progress=on_progress)
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
        path: of the answers (`eval.answers`); the questions are those of every data source that they name.
        format: wire format in which they are written.
        limit: that only so many questions of each data source are answered, the first ones; None for all.
        files: of API-Bank, where a data source is of it.
        on_progress: called while questions are read, with those read and all.

    Raises:
        ValueError: a line is no answer, or a data source is not known.
        FileNotFoundError: there is no file.
    """
    answers = load_answers(path)
    get_format(format)
    sources = Counter(answer.source for answer in answers)
    categories = [category for category in BFCL_CATEGORIES if sources.pop(f"bfcl_{category}", 0)]
    questions = bfcl_questions(categories, format, limit=limit, on_progress=on_progress) if categories else []
    if sources and not files:
        raise ValueError(f"{path}: answers to {', '.join(sources)}; of API-Bank, its files are needed: --apibank FILE")
    if sources:
        questions += [one for one in apibank_questions(files, None, limit, on_progress) if one.source in sources]
    settings = {"model": path.stem, "format": format, "limit": limit}
    return Predictions(path.stem, format, questions, answers, settings, path)


def _check_sources(folder: Path, run: Run, here: list[dict[str, str]], remedy: str) -> None:
    if run.sources != here:
        raise ValueError(f"{folder}: its questions are of {run.sources}, here are {here}: {remedy}")
