"""The command `rest-verl check`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rest_verl.common.console import plain_text

if TYPE_CHECKING:
    from rest_verl.commands.check.run import Difference


def check(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides for verl.trainer.main_ppo, or the whole command.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")] = False,
) -> None:
    """Check a verl command without running it: no GPU, no model, no data.

    rest-verl check -- +rest=paper data.train_files=...

    Says everything for which the run would fail (exit status 1),
    and otherwise what differs from verl's defaults.
    Files that are here are looked at, and your own code
    (reward function, tools, modules) is imported, as in the run.
    """
    errors = Console(stderr=True, soft_wrap=True)
    with errors.status("importing verl, about 8 s"):
        from rest_verl.commands.check.compose import DryRunError, after_main
        from rest_verl.commands.check.run import dry_run

        try:
            checked = dry_run(after_main(overrides or []))
            problems = []
        except DryRunError as error:
            problems = error.problems
    if problems:
        if as_json:
            typer.echo(json.dumps({"passed": False, "problems": problems}, indent=1))
        for problem in () if as_json else problems:
            errors.print(plain_text(problem, "red"))
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps({"passed": True, "problems": [], **asdict(checked)}, indent=1))
        return
    # a line each, which nothing here breaks: a key can be copied, and found by a search
    console = Console(soft_wrap=True, highlight=False)
    console.print("differences from verl's defaults:")
    for difference in checked.differences:
        console.print(plain_text(f"  {_line(difference)}"))
    for note in checked.notes:
        console.print(plain_text(f"note: {note}"))
    console.print("check passed")


def _line(difference: Difference) -> str:
    before = "" if difference.default is None else f"  (verl: {_as_text(difference.default)})"
    return f"{difference.key}={_as_text(difference.value)}{before}"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
