"""What all commands share: progress bars, one-line errors and safe printing of untrusted text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from rest_verl.common.plain_text import plain


def say(text: str, err: bool = False) -> None:
    """Print untrusted text as one line on standard output or standard error."""
    typer.echo(plain(text), err=err)


def plain_text(text: str, style: str = "", fold: bool = False) -> Text:
    """Untrusted text for a Rich table or console: no markup, no terminal control characters.

    Args:
        style: a Rich style.
        fold: wrap a long word instead of cutting it off.
    """
    return Text(plain(text), style=style, overflow="fold" if fold else None)


def comma_list(text: str) -> list[str]:
    """The names in an option's value, as in `--categories simple_python,multiple`."""
    return [name.strip() for name in text.split(",")]


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error if it is a terminal; yield its update function `(done, total)`."""
    console = Console(stderr=True)
    with bars(console) as progress:
        task = progress.add_task(plain(description), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def bars(console: Console) -> Progress:
    """Progress bars with plain-text descriptions; disabled unless the console is a terminal."""
    # Rich's own first column reads brackets in a file name as markup
    description = TextColumn("{task.description}", style="progress.description", markup=False)
    columns = (description, *Progress.get_default_columns()[1:], MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Show the current stage and its duration on standard error if it is a terminal; yield the function that names
    the next stage."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda description: progress.update(task, description=plain(description))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with status 1 and a one-line message instead of a traceback if the input is invalid."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename}: {error.strerror}"  # without [Errno 2]
        # a library's message quoted in ours may have several lines
        say(" ".join(text.split()), err=True)
        raise typer.Exit(1) from None
