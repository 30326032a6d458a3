"""Where each panel stands: panels in rows, and below them each family of metrics as rows of small axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rest_verl.commands.plot.curves import Curve
from rest_verl.commands.plot.panels import Drawn, Panel

_PANELS, _MEMBERS = 4, 6  # axes in a row, at most


@dataclass(frozen=True)
class Cell:
    """One pair of axes.

    Attributes:
        panel: what it shows.
        title: above it.
        curves: by the name under which the legend has them.
    """

    panel: Panel
    title: str
    curves: dict[str, Curve]


@dataclass(frozen=True)
class Layout:
    """All axes.

    Attributes:
        panels: rows from top to bottom.
        families: rows below them. All axes of one panel have one scale.
        names: of the curves in the legend, in order.
    """

    panels: list[list[Cell]]
    families: list[list[Cell]]
    names: list[str]


def arrange(drawn: Sequence[Drawn], runs: Sequence[str]) -> Layout:
    """Give each panel its place.

    With one run the members of a family share one panel, and the legend names members. With several, colours belong to
    the runs: each member has small axes of its own.
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
    """Rows of equal length, but for the last: as many in each as leave the fewest places of the last one empty."""
    rows = math.ceil(len(cells) / most)
    length = math.ceil(len(cells) / max(rows, 1))
    return [cells[row * length : (row + 1) * length] for row in range(rows)]
