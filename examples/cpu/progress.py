"""The examples' progress display: one line per stage with its name, progress and remaining time."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def stages(console: Console) -> Progress:
    """Context manager that shows the stages added to it: done, elapsed, remaining. Fits into 80 columns."""
    return Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
