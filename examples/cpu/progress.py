"""The progress display of the examples: one line a stage, with its name, what is done and the time that is left."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def stages(console: Console) -> Progress:
    """Context manager that draws the stages added to it: done, elapsed, remaining. Fits 80 columns."""
    return Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
