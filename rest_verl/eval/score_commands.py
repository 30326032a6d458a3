"""The commands `rest-verl eval score`, `compare` and `export-bfcl`, as functions; `eval.commands` registers them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rest_verl.common.console import one_line_errors, plain_text, progress_bar, say
from rest_verl.common.extras import require

if TYPE_CHECKING:
    from rest_verl.eval.comparison import Comparison
    from rest_verl.eval.predictions import Predictions
    from rest_verl.eval.report import Scores

# numpy, matplotlib and the benchmarks are slow to import, so modules that need them are imported where they are used

MEMORIES = "memories.json"  # what BFCL's conversations left, for rest-verl data bfcl --memory

Answers = Annotated[
    Path, typer.Argument(help="The --out folder of a run, or a file of answers like its answers.jsonl.")
]
ApiBank = Annotated[
    list[Path] | None, typer.Option("--apibank", help="API-Bank file that the run was asked. Repeatable.")
]
Format = Annotated[str | None, typer.Option(help="Wire format of a file of answers; not needed for a run.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="For a file of answers: it covers only the first N questions per category.")
]


def score(
    answers: Answers,
    apibank: ApiBank = None,
    format: Format = None,
    limit: Limit = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the scores; default: that of the answers.")] = None,
) -> None:
    """Score answers without an endpoint: write verdicts.jsonl, scores.json, scores.md and a chart."""
    with one_line_errors():
        require("matplotlib", "eval", "charts of scores")
        predictions = _load(answers, apibank, format, limit)
        score_and_show(predictions, out or predictions.path.parent)


def compare(
    base: Annotated[Path, typer.Argument(help="Folder of a scored run of the first model.")],
    other: Annotated[Path, typer.Argument(help="Folder of a scored run of the second model.")],
    out: Annotated[Path, typer.Option(help="Folder for the comparison.")] = Path("comparison"),
    more_base: Annotated[
        list[Path] | None, typer.Option(help="Another run (training seed) of the first model. Repeatable.")
    ] = None,
    more_other: Annotated[
        list[Path] | None, typer.Option(help="Another run (training seed) of the second model. Repeatable.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Number of bootstrap resamples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Bootstrap seed.")] = 0,
    measure: Annotated[
        str | None, typer.Option(help="Compare pass@K (one of K answers right) or pass^K (all K), not the mean.")
    ] = None,
) -> None:
    """Compare two models by paired bootstrap: is the second better than the first by more than chance?"""
    with one_line_errors():
        from rest_verl.eval.comparison import compare as compare_sides
        from rest_verl.eval.comparison import read_side, write_comparison
        from rest_verl.eval.repeats import Measure

        require("matplotlib", "eval", "charts of scores")
        sides = read_side([base, *(more_base or [])]), read_side([other, *(more_other or [])])
        comparison = compare_sides(*sides, resamples, seed, None if measure is None else Measure.parse(measure))
        Console().print(_comparison_table(comparison))
        write_comparison(comparison, out)


def export_bfcl(
    answers: Answers,
    out: Annotated[Path, typer.Option(help="Folder for the result files.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed whose answers to export: one answer per question.")] = 0,
    as_model: Annotated[
        str, typer.Option(help="Name of a model in bfcl-eval's table whose handler is QwenFCHandler.")
    ] = "Qwen/Qwen3-8B-FC",
    format: Format = None,
    limit: Limit = None,
) -> None:
    """Export answers as bfcl-eval's result files, for the official scorer."""
    with one_line_errors():
        from rest_verl.eval.bfcl_export import export_bfcl as export

        predictions = _load(answers, None, format, limit)
        chosen = [answer for answer in predictions.answers if answer.seed == seed]
        if not chosen:
            seeds = sorted({answer.seed for answer in predictions.answers})
            raise ValueError(f"--seed {seed}: {answers} has answers with the seeds {', '.join(map(str, seeds))}")
        with progress_bar("export") as on_progress:
            files = asyncio.run(
                export(predictions.questions, chosen, predictions.wire_format, out, as_model, on_progress)
            )
        for path in files.values():
            say(str(path))
        say(
            f"To score them in an environment with bfcl-eval and its dependencies: bfcl evaluate --model {as_model} "
            f"--result-dir {out.resolve()} --score-dir {out.resolve() / 'score'} --partial-eval"
        )


def score_and_show(predictions: Predictions, out: Path) -> None:
    """Score answers, write the report into a folder, and print the table.

    Raises:
        ValueError: as `eval.score.score_answers`.
    """
    from rest_verl.eval.report import repeated_scores, scores_of, write_report
    from rest_verl.eval.score import outcomes_of, score_answers
    from rest_verl.eval.states import States

    states = States(predictions.questions)
    with progress_bar("scoring") as on_progress:
        scored = asyncio.run(
            score_answers(predictions.questions, predictions.answers, predictions.wire_format, on_progress, states)
        )
    outcomes = outcomes_of(scored)
    Console().print(_score_table(predictions.model, scores_of(outcomes)))
    if repeated := repeated_scores(outcomes):
        Console().print(_repeated_table(repeated))
    write_report(predictions, scored, out)
    if memories := states.of_seed(min(one.seed for one in scored)):
        from rest_verl.bfcl.data.memories import write_memories

        write_memories(out / MEMORIES, memories)


def _load(answers: Path, apibank: list[Path] | None, format: str | None, limit: int | None) -> Predictions:
    from rest_verl.eval.answers import load_answers
    from rest_verl.eval.predictions import load_file, load_run

    with progress_bar("questions") as on_progress:
        if answers.is_dir():
            if format is not None or limit is not None:
                raise ValueError(f"--format and --limit are for a file of answers; omit them for the run in {answers}")
            return load_run(answers, apibank or [], on_progress)
        if format is None:
            load_answers(answers)  # what is wrong with the file comes first
            raise ValueError(f"--format is required: the wire format of the answers in {answers}")
        return load_file(answers, format, limit, apibank or [], on_progress)


def _score_table(model: str, scores: Scores) -> Table:
    from rest_verl.eval.report import interval, percent

    table = Table("score", title=plain_text(model))
    for column in ("%", "95 %", "questions"):
        table.add_column(column, justify="right")
    for shown in (scores.groups, scores.categories):
        for name, one in shown.items():
            table.add_row(plain_text(name), percent(one.mean), interval(one), str(one.questions))
        table.add_section()
    for name, missing in scores.partial.items():
        lacks = f"{len(missing)} part{'s' * (len(missing) > 1)} not asked"  # the report names them
        table.add_row(plain_text(name), "", "", plain_text(lacks, "dim"))
    return table


def _repeated_table(repeated: Mapping[str, Scores]) -> Table:
    """The largest k alone, to fit into 80 columns; the report has the others."""
    from rest_verl.eval.report import interval, percent

    last = list(repeated)[-2:]
    table = Table("score", title="several answers to each question")
    for measure in last:
        table.add_column(measure, justify="right")
        table.add_column("95 %", justify="right")
    for name in repeated[last[0]].all():
        shown = [repeated[measure].all()[name] for measure in last]
        table.add_row(plain_text(name), *(cell for one in shown for cell in (percent(one.mean), interval(one))))
    return table


def _comparison_table(comparison: Comparison) -> Table:
    from rest_verl.eval.comparison import verdict
    from rest_verl.eval.report import percent

    # without lines, to fit into 80 columns
    table = Table(
        title=plain_text(f"{comparison.other.name} against {comparison.base.name}"), box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("score", no_wrap=True)
    for column in ("first", "second", "diff.", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("second is", no_wrap=True)
    for name, one in comparison.differences.items():
        numbers = map(percent, (one.base, one.other, one.mean))
        table.add_row(plain_text(name), *numbers, f"{percent(one.low)} to {percent(one.high)}", verdict(one))
    return table
