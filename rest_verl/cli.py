"""The command `rest-verl`."""

from __future__ import annotations

from typing import Annotated

import typer

from rest_verl import __version__
from rest_verl.bfcl.data.command import bfcl
from rest_verl.commands.check.command import check
from rest_verl.commands.doctor.command import doctor
from rest_verl.commands.export.command import export
from rest_verl.commands.inspect.command import inspect
from rest_verl.commands.plot.command import plot
from rest_verl.commands.preview.command import preview
from rest_verl.common.console import say
from rest_verl.data.check_command import check as check_data
from rest_verl.data.commands import app as data
from rest_verl.eval.commands import app as evaluate

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"rest-verl {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """ResT for stock verl."""


data.command()(bfcl)
data.command("check")(check_data)
app.add_typer(data, name="data")
app.add_typer(evaluate, name="eval")
app.command()(doctor)
app.command()(export)
app.command()(inspect)
app.command()(plot)
# everything after the first override is an override
app.command(context_settings={"allow_interspersed_args": False})(check)
app.command(context_settings={"allow_interspersed_args": False})(preview)
