"""run.json: all settings that determine a run's answers, so that no run resumes with other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT
from rest_verl.data.files import write_whole

ANSWERS, RUN = "answers.jsonl", "run.json"


@dataclass(frozen=True, config=STRICT)
class Run:
    """The settings of a run, without the endpoint's URL and the number of simultaneous requests.

    Attributes:
        benchmark: "bfcl" or "apibank".
        sources: the questions' packages with versions, or files with digests.
        categories: BFCL's categories, in the order in which they are asked; empty for API-Bank.
        level: level of API-Bank's files, if given.
        limit: maximum number of questions per data source; None for all.
        questions: number of questions.
        format: wire format of prompts and answers.
        template: {"file": name, "sha256": digest} of the system message's template; None if prompts are used
            unchanged.
        model: its name at the endpoint.
        seeds: number of seeds; each question is asked with 0 to seeds - 1.
        temperature, top_p, max_tokens, stop, extra_body: see `eval.endpoint.Sampling`.
        rest_verl: version of this package.
        only: ids of the questions among which it chooses; None for all.
    """

    benchmark: str
    sources: list[dict[str, str]]
    categories: list[str]
    level: int | None
    limit: int | None
    questions: int
    format: str
    template: dict[str, str] | None
    model: str
    seeds: int
    temperature: float
    top_p: float
    max_tokens: int
    stop: list[str]
    extra_body: dict[str, Any]
    rest_verl: str
    only: list[str] | None = None


_RUN = TypeAdapter(Run)


def read_run(folder: Path) -> Run:
    """Read the settings of the run in a folder.

    Raises:
        ValueError: run.json is invalid.
        FileNotFoundError: there is no run.json.
    """
    path = folder / RUN
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the --out folder of `rest-verl eval bfcl` or `apibank`")
    try:
        return _RUN.validate_python(json.loads(path.read_bytes()))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))} {item['msg']}" for item in error.errors())
        raise ValueError(f"{path}: not the settings of a run: {faults}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None


def begin_run(folder: Path, run: Run) -> None:
    """Write the settings of a new run, or check that the folder's run has the same settings.

    Raises:
        ValueError: the folder's run has other settings, which the message names; or there are answers without a run.
    """
    if (folder / RUN).is_file():
        if differences := _differences(asdict(read_run(folder)), asdict(run)):
            raise ValueError(
                f"{folder} holds answers of a run with other settings: {'; '.join(differences)}. Give that run's "
                "settings to resume it, or another --out"
            )
        return
    if (folder / ANSWERS).exists():
        raise ValueError(f"{folder} holds {ANSWERS} without {RUN}, so its settings are unknown: give another --out")
    write_whole(folder / RUN, json.dumps(asdict(run), indent=2, ensure_ascii=False) + "\n")


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} {json.dumps(there[key])} there, {json.dumps(value)} here"
        for key, value in here.items()
        if there[key] != value
    ]
