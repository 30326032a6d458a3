"""From the logs of runs to files: what the command and the quickstart have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rest_verl.commands.plot.draw import draw
from rest_verl.commands.plot.logs import Scalars
from rest_verl.commands.plot.panels import PANELS, collect, panels_of

_BAND = "line: mean of a run's seeds; band: from the lowest to the highest of them"


@dataclass(frozen=True)
class Picture:
    """What was drawn.

    Attributes:
        files: a PNG and an SVG.
        panels: how many there are.
        notes: one line for whatever was left out, with the reason.
    """

    files: list[Path]
    panels: int
    notes: list[str]


def draw_runs(
    runs: Mapping[str, Sequence[Scalars]],
    path: Path,
    title: str | None = None,
    smooth: int = 1,
    metrics: Sequence[str] = (),
) -> Picture:
    """Draw runs side by side.

    Args:
        runs: the logs of each run, one for each seed.
        path: of the files without their suffix.
        title: above the panels; the run's name if left out and there is one run.
        smooth: steps of the trailing mean, 1 for none.
        metrics: names or patterns to draw in place of the usual panels.

    Raises:
        ValueError: there is nothing to draw, or no run logs one of `metrics`.
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    drawn, notes = collect(runs, panels_of(metrics, runs) if metrics else PANELS, smooth)
    if not drawn:
        raise ValueError(f"nothing to draw: {'; '.join(notes)}. Name what is logged with --metric, as in --metric '*'")
    labels = {name: label(name, len(seeds)) for name, seeds in runs.items()}
    if title is None:
        title = "" if len(labels) > 1 else next(iter(labels.values()))
    parts = [_BAND] if any(len(seeds) > 1 for seeds in runs.values()) else []
    if smooth > 1:
        parts.append(f"values of training: mean of {smooth} steps")
    return Picture(draw(drawn, labels, title, "; ".join(parts), path), len(drawn), notes)


def label(name: str, seeds: int) -> str:
    """A run as the legend names it."""
    return f"{name} ({seeds} seed{'' if seeds == 1 else 's'})"
