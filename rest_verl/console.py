"""What all commands share: progress, and errors of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error where that is a terminal; give the function that moves it, which takes
    how much is done and how much there is."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Show what is being done and for how long on standard error where that is a terminal; give the function that
    names the next stage."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda description: progress.update(task, description=description)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with status 1 and one line, without a traceback, where what it was given does not do."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        # a library's own message, quoted in ours, may have several lines
        typer.echo(" ".join(str(error).split()), err=True)
        raise typer.Exit(1) from None
