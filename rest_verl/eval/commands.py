"""The commands `rest-verl eval ...`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import rest_verl
from rest_verl.common.console import comma_list, one_line_errors, progress_bar, say
from rest_verl.common.extras import require
from rest_verl.eval.score_commands import compare, export_bfcl, score, score_and_show

if TYPE_CHECKING:
    from rest_verl.eval.endpoint import Sampling
    from rest_verl.eval.manifest import Run
    from rest_verl.eval.questions import Question

# openai, jinja2 and pydantic are slow to import, so modules that need them are imported where they are used, and
# `rest-verl --help` stays quick

app = typer.Typer(help="Ask a model a benchmark's questions, score the answers, compare models.", no_args_is_help=True)
app.command()(score)
app.command()(compare)
app.command()(export_bfcl)

Out = Annotated[Path, typer.Option(help="Folder for run.json, answers.jsonl and the scores; one per run.")]
BaseUrl = Annotated[str, typer.Option(help="URL of an OpenAI-compatible endpoint, such as `vllm serve`.")]
Model = Annotated[str | None, typer.Option(help="Model name at the endpoint; default: the only one that it serves.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Ask only the first N questions per category.")]
Seeds = Annotated[int, typer.Option(min=1, help="Ask each question N times, with the seeds 0 to N - 1.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="Sampling temperature; 0 is greedy decoding.")]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, help="Probability mass of nucleus sampling.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Maximum number of tokens per answer.")]
Stop = Annotated[list[str] | None, typer.Option(help="Stop string that ends an answer. Repeatable.")]
ExtraBody = Annotated[str, typer.Option(help="JSON object of extra request keys; null removes a key.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Number of simultaneous conversations.")]
ApiKeyFile = Annotated[Path | None, typer.Option(help="File with the endpoint's API key.")]

_URL = "http://localhost:8000/v1"


@app.command()
def bfcl(
    out: Out,
    categories: Annotated[str | None, typer.Option(help="Categories, separated by commas; default: V3's.")] = None,
    multi_turn: Annotated[
        bool | None, typer.Option("--multi-turn/--single-turn", help="Ask only these categories; default: both.")
    ] = None,
    v4: Annotated[bool, typer.Option("--v4", help="Ask the memory categories of V4 too.")] = False,
    limit: Limit = None,
    only: Annotated[
        Path | None, typer.Option(help="Ask only the questions of this file of rows, such as a validation.parquet.")
    ] = None,
    format: Annotated[str, typer.Option(help="Wire format of prompts and answers, one of rest.format's.")] = "rlla",
    template: Annotated[Path | None, typer.Option(help="Jinja2 file of the system message.")] = None,
    base_url: BaseUrl = _URL,
    model: Model = None,
    seeds: Seeds = 1,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 4096,
    stop: Stop = None,
    extra_body: ExtraBody = "{}",
    concurrency: Concurrency = 32,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Ask and score the Berkeley Function Calling Leaderboard, from the installed package bfcl-eval.

    Rerun the same command to resume an interrupted run; no answered request is repeated.
    """
    with one_line_errors():
        from rest_verl.bfcl.data.files import bfcl_version
        from rest_verl.data.files import read_rows
        from rest_verl.data.template import BUILT_IN, PromptTemplate
        from rest_verl.eval.manifest import Run
        from rest_verl.eval.questions import bfcl_questions
        from rest_verl.formats import get_format

        chosen = _categories(categories, multi_turn, v4)
        sampling = _sampling(temperature, top_p, max_tokens, stop, extra_body, seeds)
        rendering = PromptTemplate(template or BUILT_IN)
        get_format(format)
        ids = None if only is None else [row["extra_info"]["id"] for row in read_rows(only)]
        bfcl = {"package": "bfcl-eval", "version": bfcl_version()}
        server = _server(base_url, model, api_key_file, concurrency)
        with progress_bar("questions") as on_progress:
            questions = bfcl_questions(chosen, format, rendering, limit, on_progress, ids)
        make_run = partial(
            Run,
            benchmark="bfcl",
            sources=[bfcl],
            categories=list(dict.fromkeys(one.source.removeprefix("bfcl_") for one in questions if one.judged)),
            level=None,
            limit=limit,
            format=format,
            template={"file": rendering.path.name, "sha256": rendering.sha256},
            seeds=seeds,
            only=ids,
        )
        _ask(out, questions, make_run, sampling, server)


@app.command()
def apibank(
    sources: Annotated[list[Path], typer.Argument(help="API-Bank's files as ToolRL processed them.")],
    out: Out,
    level: Annotated[int | None, typer.Option(help="API-Bank level: 1, 2 or 3; default: from the file name.")] = None,
    limit: Limit = None,
    base_url: BaseUrl = _URL,
    model: Model = None,
    seeds: Seeds = 1,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 4096,
    stop: Stop = None,
    extra_body: ExtraBody = "{}",
    concurrency: Concurrency = 32,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Ask and score API-Bank; its files hold whole prompts, which ask for the format rlla.

    Rerun the same command to resume an interrupted run; no answered request is repeated.
    """
    with one_line_errors():
        from rest_verl.data.data_set import file_source
        from rest_verl.eval.manifest import Run
        from rest_verl.eval.questions import apibank_questions

        sampling = _sampling(temperature, top_p, max_tokens, stop, extra_body, seeds)
        questions = apibank_questions(sources, level, limit)
        server = _server(base_url, model, api_key_file, concurrency)
        make_run = partial(
            Run,
            benchmark="apibank",
            sources=[file_source(source) for source in sources],
            categories=[],
            level=level,
            limit=limit,
            format="rlla",
            template=None,
            seeds=seeds,
        )
        _ask(out, questions, make_run, sampling, server)


@dataclass(frozen=True)
class _Server:
    """How to reach the model; does not affect answers."""

    base_url: str
    model: str
    api_key: str
    concurrency: int


def _server(base_url: str, model: str | None, api_key_file: Path | None, concurrency: int) -> _Server:
    """The server, once it has answered: a wrong URL or key, or a missing package, ends the command at its start."""
    require("openai", "eval", "endpoints")
    require("matplotlib", "eval", "charts of scores")
    from rest_verl.eval.endpoint import find_model

    key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else "none"
    return _Server(base_url, asyncio.run(find_model(base_url, model, key)), key, concurrency)


def _categories(named: str | None, multi_turn: bool | None, v4: bool) -> list[str]:
    """The categories chosen by the options."""
    from rest_verl.bfcl.data.files import unique_categories
    from rest_verl.eval.questions import BFCL_CATEGORIES, BFCL_V3_CATEGORIES, MULTI_TURN_CATEGORIES

    if named is None and multi_turn is not None and v4:
        raise ValueError("--v4 asks all categories: omit --multi-turn and --single-turn, or name --categories")
    if named is None:
        known = BFCL_CATEGORIES if v4 else BFCL_V3_CATEGORIES
        return [one for one in known if multi_turn in (None, one in MULTI_TURN_CATEGORIES)]
    if multi_turn is not None or v4:
        raise ValueError("--categories already chooses: omit --multi-turn, --single-turn and --v4")
    return unique_categories(comma_list(named), "BFCL category", BFCL_CATEGORIES)


def _sampling(
    temperature: float, top_p: float, max_tokens: int, stop: list[str] | None, extra_body: str, seeds: int
) -> Sampling:
    from rest_verl.eval.endpoint import Sampling

    if seeds > 1 and temperature == 0:
        raise ValueError(f"--seeds {seeds}: with --temperature 0 all seeds give the same answers; set a temperature")
    try:
        extra = json.loads(extra_body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--extra-body {extra_body!r:.200}: not JSON: {error}") from None
    if not isinstance(extra, dict):
        raise ValueError(f"--extra-body {extra_body!r:.200}: must be a JSON object, such as '{{\"top_k\": 20}}'")
    return Sampling(temperature, top_p, max_tokens, stop or [], extra)


def _ask(
    out: Path, questions: Sequence[Question], make_run: Callable[..., Run], sampling: Sampling, server: _Server
) -> None:
    """Ask for the missing answers, then score the run.

    Args:
        make_run: makes the run's settings from the model's name and the sampling.
    """
    from rest_verl.eval.answers import load_answers
    from rest_verl.eval.manifest import ANSWERS
    from rest_verl.eval.predictions import Predictions

    try:
        run = asyncio.run(_ask_all(out, questions, make_run, sampling, server))
    except KeyboardInterrupt:
        say(f"Interrupted. The answers so far are in {out}: rerun the same command to resume.", err=True)
        raise typer.Exit(130) from None
    path = out / ANSWERS
    score_and_show(Predictions(run.model, run.format, questions, load_answers(path), asdict(run), path), out)


async def _ask_all(
    out: Path, questions: Sequence[Question], make_run: Callable[..., Run], sampling: Sampling, server: _Server
) -> Run:
    from rest_verl.eval.answers import open_log
    from rest_verl.eval.ask import ask_all
    from rest_verl.eval.endpoint import Endpoint
    from rest_verl.eval.manifest import ANSWERS, begin_run
    from rest_verl.formats import get_format

    async with Endpoint(server.base_url, server.model, sampling, server.api_key) as endpoint:
        run = make_run(
            model=server.model, questions=len(questions), rest_verl=rest_verl.__version__, **asdict(sampling)
        )
        begin_run(out, run)
        with open_log(out / ANSWERS) as log, progress_bar(f"asking {server.model}") as on_progress:
            await ask_all(questions, run.seeds, get_format(run.format), endpoint, log, server.concurrency, on_progress)
    return run
