"""The command `rest-verl data check`, which shows a report on data files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table
from rich.text import Text

from rest_verl.common.console import bars, comma_list, one_line_errors, plain_text, say
from rest_verl.common.plain_text import plain
from rest_verl.data.check_report import FileReport, Kind, PairReport, Problem, Report

_MOST_SHOWN = 20
_ROW_KINDS = [kind for kind in Kind if kind not in (Kind.FILE, Kind.OVERLAP, Kind.SCHEMAS)]
_NEED_TOKENIZER = (Kind.TEMPLATE, Kind.LONG)


def check(
    files: Annotated[list[Path], typer.Argument(help="Parquet files in verl's layout.")],
    tokenizer: Annotated[
        str | None, typer.Option(help="Model's folder or hub id, for prompt lengths in tokens by its tokenizer.")
    ] = None,
    max_prompt_length: Annotated[
        int | None, typer.Option(min=1, help="Report prompts with more tokens, as data.max_prompt_length.")
    ] = None,
    modules: Annotated[
        str | None,
        typer.Option(
            help="Modules that register your own scorers and environments, separated by commas, as in rest.modules."
        ),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show all problems instead of 20 per kind and file.")
    ] = False,
) -> None:
    """Check data files before a run.

    Errors (exit status 1): a file that verl cannot read;
    a row that the reward manager rest_tool cannot score
    (a run skips it and counts it as `skipped`);
    a row whose prompt cannot be read or rendered;
    a prompt that is in two files.

    Warnings: repeated or too long prompts, rows without index,
    files that verl cannot read as one data set.
    """
    # pyarrow and jinja2 are slow to import; imported here, so that `rest-verl --help` stays quick
    from rest_verl.config.rest import import_run_module
    from rest_verl.data.check import check_files
    from rest_verl.data.prompt import length_counter

    if max_prompt_length is not None and tokenizer is None:
        raise typer.BadParameter("--max-prompt-length counts tokens, so it needs --tokenizer")
    with one_line_errors():
        for name in comma_list(modules) if modules else []:
            import_run_module(name)
        count_tokens = None if tokenizer is None else length_counter(tokenizer)
    with _progress() as watch:
        report = check_files(files, count_tokens, max_prompt_length, watch)
    console = Console()
    for file in report.files:
        console.print(_file_table(file, measured=tokenizer is not None))
    if report.pairs:
        console.print(_pair_table(report.pairs))
    for line in _problem_lines(report, None if show_all else _MOST_SHOWN):
        say(line)
    raise typer.Exit(int(report.failed))


@contextmanager
def _progress() -> Iterator[Callable[[Path, int, int], None]]:
    """Show a progress bar per file if standard error is a terminal."""
    tasks: dict[Path, TaskID] = {}
    with bars(Console(stderr=True)) as progress:

        def watch(path: Path, done: int, rows: int) -> None:
            if path not in tasks:
                tasks[path] = progress.add_task(plain(path.name), total=rows)
            progress.update(tasks[path], completed=done)

        yield watch


def _file_table(file: FileReport, measured: bool) -> Table:
    table = Table("", "", title=plain_text(str(file.path)), show_header=False)
    table.add_row("rows", str(file.rows))
    for source, rows in sorted(file.sources.items()):
        table.add_row(plain_text(f"of {source}"), str(rows))
    table.add_row("without the tools that they offer (extra_info.tools)", str(file.without_tools))
    if file.lengths is not None:
        tokens = file.lengths
        table.add_row(
            "tokens of a prompt: min, median, p95, max",
            f"{tokens.minimum}, {tokens.median}, {tokens.p95}, {tokens.maximum}",
        )
    counts = Counter(problem.kind for problem in file.problems)
    for kind in _ROW_KINDS:
        if measured or kind not in _NEED_TOKENIZER:
            table.add_row(kind.title, _count(counts[kind], kind))
    return table


def _pair_table(pairs: Sequence[PairReport]) -> Table | str:
    """The pairs of files with problems; n files make n * (n - 1) / 2 pairs, too many to list them all."""
    table = Table(title="Between the files")
    for heading in ("one file", "other file", Kind.OVERLAP.title, "verl can concatenate them"):
        table.add_column(heading, overflow="fold")
    for pair in pairs:
        if pair.problems:
            differs = any(problem.kind is Kind.SCHEMAS for problem in pair.problems)
            together = plain_text("no", "yellow") if differs else plain_text("yes", "green")
            table.add_row(
                plain_text(str(pair.first)), plain_text(str(pair.second)), _count(pair.shared, Kind.OVERLAP), together
            )
    return table if table.rows else "Between the files: no prompt is in two files, and verl can concatenate them."


def _count(number: int, kind: Kind) -> Text:
    return plain_text(str(number), style="green" if not number else "red" if kind.is_error else "yellow")


def _problem_lines(report: Report, limit: int | None) -> Iterator[str]:
    """One line per problem, and one line per kind and file with the number of problems over the limit."""

    def kind_and_file(problem: Problem) -> tuple[Kind, str]:
        return problem.kind, problem.file

    for (kind, file), group in groupby(report.problems, kind_and_file):
        problems = list(group)
        yield from map(str, problems[:limit])
        if limit is not None and len(problems) > limit:
            yield f"... and {len(problems) - limit} more {kind.title} ({file}); --all shows them"
