"""The commands `rest-verl data rlla`, `apibank` and `agentdojo`, and what all commands that make a data set share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rest_verl.common.console import comma_list, one_line_errors, plain_text, progress_bar

if TYPE_CHECKING:
    from rest_verl.data.data_set import Origin
    from rest_verl.data.rows import Row

# pyarrow and jinja2 are slow to import, so modules that need them are imported where they are used, and
# `rest-verl --help` stays quick

app = typer.Typer(help="Make training data in verl's parquet layout, and check it.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder for train.parquet, validation.parquet and manifest.json.")]
Share = Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of prompts to hold out for validation.")]
FixedFormat = Annotated[str, typer.Option(help="Only rlla: the file holds whole prompts, which ask for it.")]
FixedTemplate = Annotated[Path | None, typer.Option(help="Refused: the file holds whole prompts.")]

_WHOLE_PROMPTS = "the file holds whole prompts, which ask for rlla; omit the option, or rewrite the file's prompts"


@app.command()
def rlla(
    source: Annotated[Path, typer.Argument(help="ToolRL's parquet, .json or .jsonl file.")],
    out: Out,
    validation_share: Share = 0.1,
    format: FixedFormat = "rlla",
    template: FixedTemplate = None,
) -> None:
    """Check ToolRL's data, convert it to verl's layout and split it."""
    with one_line_errors():
        from rest_verl.data.data_set import Origin, file_source
        from rest_verl.data.rlla import read_rlla

        _check_unchanged(format, template)
        with progress_bar(source.name) as on_progress:
            rows = read_rlla(source, on_progress)
        write_and_show(rows, validation_share, out, Origin("rlla", [file_source(source)], {"format": format}))


@app.command()
def apibank(
    sources: Annotated[list[Path], typer.Argument(help="API-Bank's files as ToolRL processed them.")],
    out: Out,
    level: Annotated[int | None, typer.Option(help="API-Bank level: 1, 2 or 3; default: from the file name.")] = None,
    validation_share: Share = 1.0,
    format: FixedFormat = "rlla",
    template: FixedTemplate = None,
) -> None:
    """Convert API-Bank's questions to verl's layout; by default all are for validation, since it is a benchmark."""
    with one_line_errors():
        from rest_verl.data.apibank import apibank_rows
        from rest_verl.data.data_set import Origin, file_source

        _check_unchanged(format, template)
        with progress_bar("API-Bank") as on_progress:
            rows = apibank_rows(sources, level, on_progress)
        origin = Origin("apibank", [file_source(source) for source in sources], {"format": format, "level": level})
        write_and_show(rows, validation_share, out, origin)


@app.command()
def agentdojo(
    out: Out,
    attack: Annotated[
        str | None,
        typer.Option(help="Attack that writes into what the tools return, as important_instructions; default: none."),
    ] = None,
    suites: Annotated[str, typer.Option(help="Suites, separated by commas.")] = "banking,slack,travel,workspace",
    format: Annotated[str, typer.Option(help="Wire format that the prompt asks for, as in rest.format.")] = "rlla",
    validation_share: Share = 1.0,
) -> None:
    """Make rows of AgentDojo's tasks; by default all are for validation, since it is a benchmark."""
    with one_line_errors():
        from importlib.metadata import version

        from rest_verl.data.agentdojo import agentdojo_rows
        from rest_verl.data.data_set import Origin

        wanted = comma_list(suites)
        with progress_bar("AgentDojo") as on_progress:
            rows = agentdojo_rows(wanted, attack, format, on_progress=on_progress)
        options = {"suites": wanted, "attack": attack, "format": format}
        origin = Origin("agentdojo", [{"package": "agentdojo", "version": version("agentdojo")}], options)
        write_and_show(rows, validation_share, out, origin)


def _check_unchanged(format: str, template: Path | None) -> None:
    if format != "rlla":
        raise ValueError(f"--format {format}: {_WHOLE_PROMPTS}")
    if template is not None:
        raise ValueError(f"--template {template}: {_WHOLE_PROMPTS}")


def write_and_show(
    rows: list[Row],
    validation_share: float,
    out: Path,
    origin: Origin,
    question_of: Callable[[Row], str] | None = None,
) -> None:
    """Write a data set and show the number of rows of each data source on each side.

    Args:
        question_of: as for `split_by_hash`; None for its default.
    """
    from rest_verl.data.data_set import SIDES, write_data_set
    from rest_verl.data.question import question_of_prompt

    counts = write_data_set(rows, validation_share, out, origin, question_of or question_of_prompt)
    table = Table("data source", *SIDES, title=plain_text(str(out)))
    for source in sorted(counts["train"] | counts["validation"]):
        table.add_row(plain_text(source), *(str(counts[side][source]) for side in SIDES))
    table.add_section()
    table.add_row("all", *(str(counts[side].total()) for side in SIDES))
    Console().print(table)
