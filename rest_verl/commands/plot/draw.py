"""Draw curves with their bands as PNG and SVG; curves differ by colour and dashes, so they stay legible in grey."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rest_verl.commands.plot.panels import PANELS, Curve, Panel, PanelCurves, collect, select_panels
from rest_verl.commands.plot.runs import Scalars
from rest_verl.common.figures import new_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_PANELS, _MEMBERS = 4, 6  # most axes per row


@dataclass(frozen=True)
class Cell:
    """One pair of axes.

    Attributes:
        panel: what it shows.
        title: shown above it.
        curves: by their names in the legend.
    """

    panel: Panel
    title: str
    curves: dict[str, Curve]


@dataclass(frozen=True)
class Layout:
    """All axes.

    Attributes:
        panels: rows of axes, from top to bottom.
        families: rows below them. All axes of one panel share a scale.
        names: the curves' names in the legend, in order.
    """

    panels: list[list[Cell]]
    families: list[list[Cell]]
    names: list[str]


def arrange(drawn: Sequence[PanelCurves], runs: Sequence[str]) -> Layout:
    """Arrange the panels.

    With one run, the members of a family share one panel and the legend names the members. With several runs, colours
    denote runs and each member has its own small axes.
    """
    several = len(runs) > 1
    panels: list[Cell] = []
    families: list[list[Cell]] = []
    names = list(runs) if several else []
    for one in drawn:
        panel = one.panel
        if len(one.members) == 1:
            [(member, curves)] = one.members.items()
            panels.append(Cell(panel, f"{panel.title}: {member}" if member else panel.title, curves))
        elif several:
            families += _rows([Cell(panel, member, curves) for member, curves in one.members.items()], _MEMBERS)
        else:
            panels.append(
                Cell(panel, panel.title, {member: curves[runs[0]] for member, curves in one.members.items()})
            )
            names += [member for member in one.members if member not in names]
    return Layout(_rows(panels, _PANELS), families, names)


def _rows(cells: list[Cell], most: int) -> list[list[Cell]]:
    """Split into the fewest rows of at most `most` cells; all have the same length except for the last."""
    rows = math.ceil(len(cells) / most)
    length = math.ceil(len(cells) / max(rows, 1))
    return [cells[row * length : (row + 1) * length] for row in range(rows)]


# Okabe and Ito's palette without yellow, which is hard to see on white, and black, used where no legend is needed
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ((1, 0), (5, 1.5), (1.5, 1.2), (7, 1.5, 1.5, 1.5), (9, 3), (4, 1.2, 1.2, 1.2, 1.2, 1.2))
_PLAIN = {"color": "black"}
_WIDTH, _DPI = 12.0, 100  # inches; 1200 pixels
_HEIGHT, _FAMILY_HEIGHT, _LINE = 2.1, 1.6, 0.24  # inches: rows of axes, rows of small axes, a line of text
_IN_LEGEND = 8  # names per row
_MOST_MARKED = 12  # a curve with at most this many points has a marker at each
_NARROW = 4  # more axes per row leave no room for many ticks


def draw(drawn: Sequence[PanelCurves], labels: Mapping[str, str], title: str, caption: str, path: Path) -> list[Path]:
    """Draw all panels and write them as PNG and as SVG; the same logs give the same files.

    Args:
        drawn: at least one panel.
        labels: name of each run -> its label in the legend.
        title: shown above the panels; empty for none.
        caption: shown below the legend; empty for none.
        path: the files' path without a suffix.

    Returns:
        the paths of the two files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    layout = arrange(drawn, list(labels))
    styles = {name: _style(number) for number, name in enumerate(layout.names)}
    blocks = [
        (rows, height * len(rows))
        for rows, height in ((layout.panels, _HEIGHT), (layout.families, _FAMILY_HEIGHT))
        if rows
    ]
    heights = [height for _, height in blocks]
    heights.append(_LINE * (1.5 + math.ceil(len(styles) / _IN_LEGEND)))
    figure = new_figure(_WIDTH, sum(heights), _DPI)
    *parts, foot = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (rows, _) in zip(parts, blocks, strict=True):
        _draw_rows(part, rows, styles)
    steps = [step for one in drawn for curves in one.members.values() for c in curves.values() for step in c.steps]
    margin = 0.02 * (max(steps) - min(steps)) or 0.5
    for axes in figure.get_axes():
        axes.set_xlim(min(steps) - margin, max(steps) + margin)
    figure.suptitle(title, fontsize=12, parse_math=False)
    _write_foot(foot, {labels.get(name, name): style for name, style in styles.items()}, caption)
    return write_figure(figure, path)


def _style(number: int) -> dict[str, Any]:
    """Colour and dashes; there are 36 combinations."""
    turn, color = divmod(number, len(_COLORS))
    return {"color": _COLORS[color], "dashes": _DASHES[(turn + color) % len(_DASHES)]}


def _draw_rows(part: Any, rows: Sequence[Sequence[Cell]], styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw rows of axes into a part of the figure; if a panel has several axes, only the leftmost are labelled."""
    columns = max(map(len, rows))
    grid = part.add_gridspec(len(rows), columns)
    scales: dict[str, Axes] = {}
    zeros: list[Axes] = []
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            panel = cell.panel
            axes = part.add_subplot(grid[number, column], sharey=scales.get(panel.title))
            scales.setdefault(panel.title, axes)
            for name, curve in cell.curves.items():
                _draw_curve(axes, curve, styles.get(name, _PLAIN))
            axes.set_title(cell.title, fontsize=10, parse_math=False)
            is_member = any(other.panel == panel for other in row if other is not cell)
            if not is_member:
                axes.set_ylabel(panel.unit, fontsize=8)
            elif column == 0:
                axes.set_ylabel(f"{panel.title}\n({panel.unit})", fontsize=8)
            else:
                axes.tick_params(left=False, labelleft=False)
            if number + 1 == len(rows) or column >= len(rows[number + 1]):
                axes.set_xlabel("training step", fontsize=8)
            _style_axes(axes, ticks=4 if columns > _NARROW else 6)
            if panel.from_zero:
                zeros.append(axes)
    for axes in zeros:  # after drawing everything: axes that share a scale have one top
        _, top = axes.get_ylim()
        axes.set_ylim(-0.03 * top, top)  # shows the full width of a line at 0


def _style_axes(axes: Axes, ticks: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    axes.tick_params(labelsize=8)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, curve: Curve, style: Mapping[str, Any]) -> None:
    """The mean as a line, with the band of the seeds below it."""
    there = [False, *map(math.isfinite, curve.mean), False]
    points = range(len(curve.mean))
    lone = [number for number in points if there[number : number + 3] == [False, True, False]]
    # a single value between two gaps has no line
    marked = points if sum(there) <= _MOST_MARKED else lone
    axes.plot(curve.steps, curve.mean, linewidth=1.5, marker="o", markersize=3, markevery=list(marked), **style)
    if curve.seeds > 1:
        axes.fill_between(curve.steps, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)


def _write_foot(foot: Any, styles: Mapping[str, Mapping[str, Any]], caption: str) -> None:
    """Draw the legend, and the caption below it."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=2, **style) for style in styles.values()]
    legend = foot.legend(
        handles, list(styles), loc="upper center", ncols=_IN_LEGEND, fontsize=9, frameon=False, handlelength=3.5
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run's name is not a formula
    foot.text(0.5, 0.2, caption, ha="center", fontsize=8, color="0.3")


_BAND = "line: mean of a run's seeds; band: from the lowest to the highest seed"


@dataclass(frozen=True)
class Picture:
    """The drawn chart.

    Attributes:
        files: a PNG and an SVG.
        panels: number of panels.
        notes: one line for each thing left out, with the reason.
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
    """Draw all runs into one chart.

    Args:
        runs: the logs of each run, one per seed.
        path: the files' path without a suffix.
        title: shown above the panels; None for the name of a single run.
        smooth: number of steps in the trailing mean, 1 for none.
        metrics: names or patterns to draw instead of the default panels.

    Raises:
        ValueError: there is nothing to draw, or no run logs one of `metrics`.
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    drawn, notes = collect(runs, select_panels(metrics, runs) if metrics else PANELS, smooth)
    if not drawn:
        raise ValueError(f"nothing to draw: {'; '.join(notes)}. Name logged metrics with --metric, as in --metric '*'")
    labels = {name: label(name, len(seeds)) for name, seeds in runs.items()}
    if title is None:
        title = "" if len(labels) > 1 else next(iter(labels.values()))
    parts = [_BAND] if any(len(seeds) > 1 for seeds in runs.values()) else []
    if smooth > 1:
        parts.append(f"training values: mean of {smooth} steps")
    return Picture(draw(drawn, labels, title, "; ".join(parts), path), len(drawn), notes)


def label(name: str, seeds: int) -> str:
    """A run's label in the legend."""
    return f"{name} ({seeds} seed{'' if seeds == 1 else 's'})"
