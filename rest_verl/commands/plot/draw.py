"""Curves with their bands as PNG and SVG, legible for the colour-blind and in grey: colour never stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rest_verl.commands.plot.curves import Curve
from rest_verl.commands.plot.layout import Cell, arrange
from rest_verl.commands.plot.panels import Drawn
from rest_verl.common.figures import new_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette without yellow, which is lost on white, and black, which is for what needs no legend
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ((1, 0), (5, 1.5), (1.5, 1.2), (7, 1.5, 1.5, 1.5), (9, 3), (4, 1.2, 1.2, 1.2, 1.2, 1.2))
_PLAIN = {"color": "black"}
_WIDTH, _DPI = 12.0, 100  # inches; 1200 pixels
_HEIGHT, _FAMILY_HEIGHT, _LINE = 2.1, 1.6, 0.24  # inches: of rows of axes, of a line of text
_IN_LEGEND = 8  # names in a row
_FEW = 12  # points, of which each is marked
_NARROW = 4  # axes in a row; more leave no room for many ticks


def draw(drawn: Sequence[Drawn], labels: Mapping[str, str], title: str, caption: str, path: Path) -> list[Path]:
    """Draw all panels and write them as PNG and as SVG; the same logs give the same files.

    Args:
        drawn: at least one panel.
        labels: the name of each run -> what the legend calls it.
        title: above the panels; empty for none.
        caption: below the legend; empty for none.
        path: of the files without their suffix.

    Returns:
        the files.

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
    """Colour and dashes; 36 of them differ."""
    turn, color = divmod(number, len(_COLORS))
    return {"color": _COLORS[color], "dashes": _DASHES[(turn + color) % len(_DASHES)]}


def _draw_rows(part: Any, rows: Sequence[Sequence[Cell]], styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw rows of axes into a part of the figure; of a panel with several axes only the leftmost say what it is."""
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
            _dress(axes, ticks=4 if columns > _NARROW else 6)
            if panel.from_zero:
                zeros.append(axes)
    for axes in zeros:  # only when all is drawn: axes that share a scale have one top
        _, top = axes.get_ylim()
        axes.set_ylim(-0.03 * top, top)  # a line at 0 is seen whole


def _dress(axes: Axes, ticks: int) -> None:
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
    # a lone value between two gaps has no line
    marked = points if sum(there) <= _FEW else lone
    axes.plot(curve.steps, curve.mean, linewidth=1.5, marker="o", markersize=3, markevery=list(marked), **style)
    if curve.seeds > 1:
        axes.fill_between(curve.steps, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)


def _write_foot(foot: Any, styles: Mapping[str, Mapping[str, Any]], caption: str) -> None:
    """The one legend, and below it the caption."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=2, **style) for style in styles.values()]
    legend = foot.legend(
        handles, list(styles), loc="upper center", ncols=_IN_LEGEND, fontsize=9, frameon=False, handlelength=3.5
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # the name of a run is no formula
    foot.text(0.5, 0.2, caption, ha="center", fontsize=8, color="0.3")
