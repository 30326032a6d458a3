"""The commands `rest-verl data bfcl`, `rlla` and `apibank`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rest_verl.common.console import one_line_errors, plain_text, progress_bar

if TYPE_CHECKING:
    from rest_verl.data.data_set import Origin
    from rest_verl.data.rows import Row

# pyarrow and jinja2 are heavy: what needs them is imported where it is used, so that `rest-verl --help` stays quick

app = typer.Typer(help="Make training data in verl's parquet layout, and check it.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder for train.parquet, validation.parquet and manifest.json.")]
Share = Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of prompts to hold out for validation.")]
Format = Annotated[str, typer.Option(help="Wire format that the prompt asks for: a name that rest.format takes.")]
Template = Annotated[Path | None, typer.Option(help="A Jinja2 file in place of the built-in system message.")]
BakedFormat = Annotated[str, typer.Option(help="Only rlla: the file holds whole prompts, which ask for it.")]
BakedTemplate = Annotated[Path | None, typer.Option(help="Refused: the file holds whole prompts.")]

_BAKED = "the file holds whole prompts, which ask for rlla; leave the option out, or rewrite the prompts in the file"


@app.command()
def bfcl(
    out: Out,
    category: Annotated[list[str] | None, typer.Option(help="Repeat for several; all of them if left out.")] = None,
    multi_turn: Annotated[
        bool, typer.Option("--multi-turn", help="Tasks of several turns instead, which act on an environment.")
    ] = False,
    validation_share: Share = 0.1,
    format: Format = "rlla",
    template: Template = None,
) -> None:
    """BFCL's questions and answers, from the installed package bfcl-eval.

    Multi-turn rows are for the agent loop rest_tool_agent:
    they name the environment bfcl_multi_turn, which runs and scores them.
    """
    with one_line_errors():
        from rest_verl.bfcl.data.files import bfcl_version
        from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
        from rest_verl.bfcl.data.single_turn import CATEGORIES, bfcl_rows
        from rest_verl.data.data_set import Origin
        from rest_verl.data.template import BUILT_IN, PromptTemplate

        known, make_rows = (MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows) if multi_turn else (CATEGORIES, bfcl_rows)
        wanted = list(dict.fromkeys(category or known))
        rendering = PromptTemplate(template or BUILT_IN)
        options = {
            "category": wanted,
            "format": format,
            "template": {"file": rendering.path.name, "sha256": rendering.sha256},
        }
        with progress_bar("BFCL") as on_progress:
            rows = make_rows(wanted, format, rendering, on_progress)
        origin = Origin("bfcl", [{"package": "bfcl-eval", "version": bfcl_version()}], options)
        _write(rows, validation_share, out, origin)


@app.command()
def rlla(
    source: Annotated[Path, typer.Argument(help="ToolRL's parquet, .json or .jsonl file.")],
    out: Out,
    validation_share: Share = 0.1,
    format: BakedFormat = "rlla",
    template: BakedTemplate = None,
) -> None:
    """ToolRL's data, checked, brought into one layout and split."""
    with one_line_errors():
        from rest_verl.data.data_set import Origin, file_source
        from rest_verl.data.rlla import read_rlla

        _check_baked(format, template)
        with progress_bar(source.name) as on_progress:
            rows = read_rlla(source, on_progress)
        _write(rows, validation_share, out, Origin("rlla", [file_source(source)], {"format": format}))


@app.command()
def apibank(
    sources: Annotated[list[Path], typer.Argument(help="API-Bank's files as ToolRL processed them.")],
    out: Out,
    level: Annotated[int | None, typer.Option(help="1, 2 or 3; read out of the file's name if left out.")] = None,
    validation_share: Share = 1.0,
    format: BakedFormat = "rlla",
    template: BakedTemplate = None,
) -> None:
    """API-Bank's questions; all go to validation, as befits a benchmark, unless --validation-share says otherwise."""
    with one_line_errors():
        from rest_verl.data.apibank import apibank_rows
        from rest_verl.data.data_set import Origin, file_source

        _check_baked(format, template)
        with progress_bar("API-Bank") as on_progress:
            rows = apibank_rows(sources, level, on_progress)
        origin = Origin("apibank", [file_source(source) for source in sources], {"format": format, "level": level})
        _write(rows, validation_share, out, origin)


def _check_baked(format: str, template: Path | None) -> None:
    if format != "rlla":
        raise ValueError(f"--format {format}: {_BAKED}")
    if template is not None:
        raise ValueError(f"--template {template}: {_BAKED}")


def _write(rows: list[Row], validation_share: float, out: Path, origin: Origin) -> None:
    """Write a data set and show how many rows each side has of every data source."""
    from rest_verl.data.data_set import SIDES, write_data_set

    counts = write_data_set(rows, validation_share, out, origin)
    table = Table("data source", *SIDES, title=plain_text(str(out)))
    for source in sorted(counts["train"] | counts["validation"]):
        table.add_row(plain_text(source), *(str(counts[side][source]) for side in SIDES))
    table.add_section()
    table.add_row("all", *(str(counts[side].total()) for side in SIDES))
    Console().print(table)
