"""The command `rest-verl plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rest_verl.common.console import one_line_errors, plain_text, progress_bar
from rest_verl.common.extras import require

if TYPE_CHECKING:
    from rest_verl.commands.plot.runs import Run, Scalars


def plot(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="PATH or NAME=PATH of a log or a folder with logs. All logs of one name are its seeds.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Files to write, without suffix: .png and .svg are added.")] = Path("plot"),
    title: Annotated[str | None, typer.Option(help="Title of the chart; default: the name of a single run.")] = None,
    smooth: Annotated[
        int, typer.Option(min=1, help="Draw the trailing mean over this many steps, except for validations.")
    ] = 1,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Draw this metric instead of the default panels; * matches any text. Repeatable."),
    ] = None,
) -> None:
    """Draw training curves: reward, accuracy, entropy and weight by region, and more, over the steps.

    Reads the logs of verl's loggers `file` and `tensorboard`.
    Example with two runs of several seeds:

    rest-verl plot "paper=runs/paper-*" "grpo=runs/grpo-*"
    """
    with one_line_errors():
        from rest_verl.commands.plot.draw import draw_runs, label
        from rest_verl.commands.plot.runs import find_runs

        if out.suffix in (".png", ".svg"):
            raise ValueError(f"--out {out}: a PNG and an SVG are written: omit {out.suffix}")
        require("matplotlib", "plot", "charts")
        found = find_runs(runs)
        read = _read(found)
        picture = draw_runs(read, out, title, smooth, metric or ())
    console = Console(soft_wrap=True, highlight=False)
    for run in found:
        steps = [step for log in read[run.name] for series in log.values() for step in series]
        console.print(plain_text(f"{label(run.name, len(run.logs))}, steps {min(steps)} to {max(steps)}"))
        for path in run.logs:
            console.print(plain_text(f"  {path}"))
        for path in run.skipped:
            console.print(plain_text(f"  {path}: skipped, since there are JSON lines too"))
    for note in picture.notes:
        console.print(plain_text(note))
    panels = "1 panel" if picture.panels == 1 else f"{picture.panels} panels"
    console.print(plain_text(f"{panels}: {', '.join(map(str, picture.files))}"))


def _read(runs: Sequence[Run]) -> dict[str, list[Scalars]]:
    from rest_verl.commands.plot.runs import check_seeds, read_log

    total, done = sum(len(run.logs) for run in runs), 0
    read: dict[str, list[Scalars]] = {}
    with progress_bar("logs") as on_progress:
        for run in runs:
            logs = {}
            for path in run.logs:
                logs[path] = read_log(path)
                done += 1
                on_progress(done, total)
            check_seeds(run.name, logs)
            read[run.name] = list(logs.values())
    return read
