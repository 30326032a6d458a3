"""An endpoint's answers: one line of JSON per request, written as answers arrive and sorted at the end.

No line depends on when it was written, so a run that was interrupted and resumed ends with the same bytes as one that
was not. Lines are ASCII, so that no model output can break the file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT
from rest_verl.data.files import write_whole

Place = tuple[str, str, int, int]  # source, id, seed, step


@dataclass(frozen=True, config=STRICT)
class Answer:
    """The answer to one request.

    Attributes:
        source, id: name the question.
        seed: sent with the request.
        step: number of the request in its conversation, from 0.
        text: as the model wrote it; "" if there is an error.
        finish_reason: from the endpoint ("stop", "length"); None if it gave none.
        prompt_tokens, completion_tokens: numbers of tokens as counted by the endpoint; None if it did not.
        error: why the endpoint permanently refuses this request, such as a prompt longer than the model's context;
            the conversation ends there. None if it answered.
    """

    source: str
    id: str
    seed: int
    step: int
    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None

    @property
    def place(self) -> Place:
        """A key that is unique among the answers of a run."""
        return self.source, self.id, self.seed, self.step


_ANSWER = TypeAdapter(Answer)


def load_answers(path: Path) -> list[Answer]:
    """Read a file of answers, in the order of its lines. An incomplete last line is ignored.

    Raises:
        ValueError: a line is not an answer, or two lines answer the same request; the message names the line.
        FileNotFoundError: there is no such file.
    """
    return _read(path)[0]


def save_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write a whole file of answers; if that fails, an existing file stays as it was."""
    write_whole(path, "".join(map(_line, answers)))


class AnswerLog:
    """A file of answers to append to; `open_log` opens one.

    Attributes:
        path: path of the file.
    """

    def __init__(self, path: Path, answers: Iterable[Answer], append: Callable[[str], Any]):
        self.path = path
        self._answers = {answer.place: answer for answer in answers}
        self._append = append

    def __len__(self) -> int:
        return len(self._answers)

    def answers(self) -> list[Answer]:
        """All answers so far."""
        return list(self._answers.values())

    def conversation(self, source: str, id: str, seed: int) -> list[Answer]:
        """The answers of one conversation so far, by step."""
        found: list[Answer] = []
        while answer := self._answers.get((source, id, seed, len(found))):
            found.append(answer)
        return found

    def add(self, answer: Answer) -> None:
        """Append an answer; it is on disk even if this process is killed right after.

        Raises:
            ValueError: its request is already answered.
        """
        if answer.place in self._answers:
            raise ValueError(f"{self.path}: two answers to one request: {_describe(answer)}")
        self._append(_line(answer))
        self._answers[answer.place] = answer

    def sort(self, questions: Sequence[tuple[str, str]]) -> None:
        """Rewrite the file sorted by question, seed and step.

        Args:
            questions: (source, id) of each question, in order.

        Raises:
            ValueError: an answer belongs to none of the questions.
        """
        ranks = {key: rank for rank, key in enumerate(questions)}
        for answer in self._answers.values():
            if (answer.source, answer.id) not in ranks:
                raise ValueError(f"{self.path}: an answer to no question of this run: {_describe(answer)}")

        def rank(answer: Answer) -> tuple[int, int, int]:
            return ranks[answer.source, answer.id], answer.seed, answer.step

        save_answers(self.path, sorted(self._answers.values(), key=rank))


@contextmanager
def open_log(path: Path) -> Iterator[AnswerLog]:
    """Open a file of answers to append to; an incomplete last line is removed, a missing file is created.

    Raises:
        ValueError: as `load_answers`; or another process is appending to the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path}: another process is writing to it; wait for it, or give another folder"
            ) from None
        answers, size = _read(path)
        os.ftruncate(file.fileno(), size)
        if size and not path.read_bytes().endswith(b"\n"):
            file.write(b"\n")
        yield AnswerLog(path, answers, lambda line: file.write(line.encode("ascii")))


def _read(path: Path) -> tuple[list[Answer], int]:
    """The answers of a file, and their size in bytes without an incomplete last line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the answers.jsonl of a run, or a file like it")
    *lines, rest = path.read_bytes().split(b"\n")
    answers = [_answer(line, path, number) for number, line in enumerate(lines, start=1)]
    size = sum(len(line) + 1 for line in lines)
    if rest and _is_json(rest):  # complete: the beginning of an object is not JSON
        answers.append(_answer(rest, path, len(lines) + 1))
        size += len(rest)
    elif not answers and not _may_be_cut(rest):
        raise ValueError(f"{path}: not answers: {_EXPECTED}")
    seen: dict[Place, int] = {}
    for number, answer in enumerate(answers, start=1):
        if (first := seen.setdefault(answer.place, number)) != number:
            raise ValueError(f"{path}, line {number}: answers the same request as line {first}: {_describe(answer)}")
    return answers, size


_EXPECTED = "expected a JSON object on each line, as in the answers.jsonl that `rest-verl eval` writes"


def _may_be_cut(line: bytes) -> bool:
    """Whether the only line of a file may be the beginning of an answer, or is empty."""
    begin = b'{"source":'
    return line.startswith(begin) or begin.startswith(line)


def _answer(line: bytes, path: Path, number: int) -> Answer:
    try:
        return _ANSWER.validate_python(json.loads(line))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip() for item in error.errors())
        raise ValueError(f"{path}, line {number}: not an answer: {faults}") from None
    except (ValueError, RecursionError) as error:
        if number == 1 and not line.startswith(b"{"):
            raise ValueError(f"{path}: not answers: {_EXPECTED}") from None
        raise ValueError(f"{path}, line {number}: not JSON: {error}") from None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _line(answer: Answer) -> str:
    return json.dumps(asdict(answer)) + "\n"


def _describe(answer: Answer) -> str:
    return f"source {answer.source!r}, id {answer.id!r}, seed {answer.seed}, step {answer.step}"
