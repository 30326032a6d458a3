"""The command `rest-verl`."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rest_verl.data.check_command import check
from rest_verl.data.commands import app as data
from rest_verl.eval.commands import app as evaluate
from rest_verl.export.command import export

app = typer.Typer(help="ResT for stock verl.", no_args_is_help=True, pretty_exceptions_enable=False)
data.command()(check)
app.add_typer(data, name="data")
app.add_typer(evaluate, name="eval")
app.command()(export)
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
