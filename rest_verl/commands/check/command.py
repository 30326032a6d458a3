"""The command `rest-verl check`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rest_verl.common.console import plain_text


def check(
    overrides: Annotated[list[str] | None, typer.Argument(help="Overrides for verl.trainer.main_ppo.")] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write config, differences and notes to this file; goes before the overrides."),
    ] = None,
) -> None:
    """Check a verl command without running it: no GPU, no model, no data. Exit status 1 if the run would fail.

    Files that are here are looked at, and your own code (reward function, tools, modules) is imported, as in the run.
    """
    from rest_verl.commands.check.compose import DryRunError
    from rest_verl.commands.check.run import dry_run

    errors = Console(stderr=True, soft_wrap=True)
    try:
        with errors.status("importing verl, about 10 s"):
            checked = dry_run(overrides or [])
    except DryRunError as error:
        for problem in error.problems:
            errors.print(plain_text(problem, "red"))
        raise typer.Exit(1) from None
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(asdict(checked), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            errors.print(plain_text(f"--json {json_file}: {error.strerror}: choose a writable file", "red"))
            raise typer.Exit(1) from None
    console = Console()
    table = Table("key", "verl's default", "this run", title="differences from verl's defaults")
    for difference in checked.differences:
        table.add_row(*(plain_text(text, fold=True) for text in map(_as_text, asdict(difference).values())))
    console.print(table)
    for note in checked.notes:
        console.print(plain_text(f"note: {note}"), soft_wrap=True)
    console.print("dry run passed")


def _as_text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
