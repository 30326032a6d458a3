"""The examples' progress display: on a terminal a line a stage that moves, elsewhere lines that are written once."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def stages(console: Console) -> Progress:
    """Context manager that shows the stages added to it: done, elapsed, remaining. Fits into 80 columns."""
    if not console.is_terminal:
        return Lines(console)
    return Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


class Lines(Progress):
    """For a pipe or a file, in which nothing can move: a line when a stage begins and one at each tenth of it."""

    def __init__(self, console: Console):
        super().__init__(console=console, disable=True)  # keeps account of the tasks and draws nothing
        self._said: dict[TaskID, int] = {}

    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        """As in Progress; the stage's first line, unless it is not visible yet."""
        added = super().add_task(description, *args, **kwargs)
        self._say(added)
        return added

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As in Progress; a line if another tenth of the stage is done."""
        super().update(task_id, **changes)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        task = self._tasks[task_id]
        tenth = _tenth(task)
        if not task.visible or self._said.get(task_id) == tenth:
            return
        self._said[task_id] = tenth
        seconds = int(task.elapsed or 0)
        done = f"{int(task.completed)}/{int(task.total or 0)}"
        self.console.print(
            f"{task.description:<44} {done:>9}  {seconds // 60:>3}:{seconds % 60:02d}", soft_wrap=True, markup=False
        )


def _tenth(task: Task) -> int:
    """How many tenths of a stage are done."""
    return int(10 * task.completed / task.total) if task.total else 0
