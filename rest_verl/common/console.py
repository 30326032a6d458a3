"""What all commands share: progress, errors of one line, and text of any origin on its way to a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from rest_verl.common.plain_text import plain


def say(text: str, err: bool = False) -> None:
    """Print text of any origin as a line, on standard output or on standard error."""
    typer.echo(plain(text), err=err)


def plain_text(text: str, style: str = "", fold: bool = False) -> Text:
    """Text of any origin for a table or a console of Rich: no markup, nothing that a terminal obeys.

    Args:
        style: one of Rich's.
        fold: break a long word over lines instead of cutting it.
    """
    return Text(plain(text), style=style, overflow="fold" if fold else None)


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error where that is a terminal; give the function that moves it, which takes
    how much is done and how much there is."""
    console = Console(stderr=True)
    with bars(console) as progress:
        task = progress.add_task(plain(description), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def bars(console: Console) -> Progress:
    """Progress bars whose descriptions are plain text, where the console is a terminal; none else."""
    # Rich's own first column takes brackets in a file's name for markup
    description = TextColumn("{task.description}", style="progress.description", markup=False)
    columns = (description, *Progress.get_default_columns()[1:], MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Show what is being done and for how long on standard error where that is a terminal; give the function that
    names the next stage."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda description: progress.update(task, description=plain(description))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with status 1 and one line, without a traceback, where what it was given does not do."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        # a library's own message, quoted in ours, may have several lines
        say(" ".join(str(error).split()), err=True)
        raise typer.Exit(1) from None
