"""The command `rest-verl`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

app = typer.Typer(help="ResT for stock verl.", no_args_is_help=True, pretty_exceptions_enable=False)
data = typer.Typer(help="Make training data in verl's parquet layout.", no_args_is_help=True)
app.add_typer(data, name="data")
console = Console()


@app.command()
def doctor() -> None:
    """Check that verl finds this plugin and that all its names are registered. Exit status 0 only if they are."""
    from rest_verl.doctor import findings

    table = Table("check", "found", "remedy")
    problems = 0
    for finding in findings():
        problems += not finding.fine
        # as plain text: what an import error says may look like markup
        found = Text(finding.found, style="green" if finding.fine else "red")
        table.add_row(finding.check, found, Text(finding.remedy))
    console.print(table)
    raise typer.Exit(min(problems, 1))


@data.command()
def bfcl(
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and validation.parquet.")],
    category: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; all single-turn ones if left out.")
    ] = None,
    validation_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of prompts to hold out.")] = 0.1,
) -> None:
    """BFCL's single-turn questions and answers, from the installed package bfcl-eval."""
    from rest_verl.data.bfcl import CATEGORIES, bfcl_rows

    _write_split(lambda: bfcl_rows(category or CATEGORIES), validation_share, out)


@data.command()
def rlla(
    source: Annotated[Path, typer.Argument(help="ToolRL's parquet file.")],
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and validation.parquet.")],
    validation_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of prompts to hold out.")] = 0.1,
) -> None:
    """ToolRL's data, checked and split."""
    from rest_verl.data.rlla import read_rlla

    _write_split(lambda: read_rlla(source), validation_share, out)


@data.command()
def check(files: Annotated[list[Path], typer.Argument(help="Parquet files in verl's layout.")]) -> None:
    """Name every row whose ground truth the reward manager rest_tool cannot read. Exit status 0 only if there is none.

    In a run such rows are skipped and counted as reward component `skipped`.
    """
    from rest_verl.reward.check import unscorable_rows

    failed = False
    for file in files:
        try:
            rows, reasons = unscorable_rows(file)
        except (ValueError, OSError) as error:
            typer.echo(str(error), err=True)
            failed = True
            continue
        failed |= bool(reasons)
        typer.echo(f"{file}: {rows} rows, {len(reasons)} cannot be scored")
        for number, reason in reasons:
            typer.echo(f"{file}, row {number}: {reason}")
    raise typer.Exit(int(failed))


def _write_split(read: Callable[[], list[dict]], validation_share: float, out: Path) -> None:
    """Read rows, split them, write both sides and show how many each has of every data source."""
    from rest_verl.data.split import split_by_hash, write_parquet

    try:
        sides = split_by_hash(read(), validation_share)
        for name, side in zip(("train", "validation"), sides, strict=True):
            write_parquet(side, out / f"{name}.parquet")
    except (ValueError, OSError, ModuleNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    table = Table("data source", "train", "validation", title=str(out))
    train, validation = (Counter(row["data_source"] for row in side) for side in sides)
    for source in sorted(train | validation):
        table.add_row(source, str(train[source]), str(validation[source]))
    console.print(table)
