"""A preview as a chart: one panel per scheduled quantity, with lines that differ by colour and dashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rest_verl.commands.preview.report import regions_of, row_title
from rest_verl.commands.preview.timeline import Timeline, curve_steps, reward_bounds
from rest_verl.commands.preview.weights import follows_entropy
from rest_verl.common.figures import new_figure, write_figure
from rest_verl.core.regions import Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class _Style:
    """A line's style: a colour of Okabe and Ito, dashes and width in points."""

    color: str
    dashes: tuple[float, ...] = ()
    width: float = 1.6

    def keys(self) -> dict[str, Any]:
        """As keyword arguments of matplotlib."""
        return {"color": self.color, "linestyle": (0, self.dashes) if self.dashes else "-", "linewidth": self.width}


# Wide lines below thin ones and dashes above solid lines, so that two regions of the same weight are both visible.
STYLES = {
    Region.FORMAT: _Style("#0072B2", width=2.4),
    Region.NAME: _Style("#D55E00", (9, 2)),
    Region.ARGS: _Style("#E69F00", width=2.8),
    Region.THINK: _Style("#009E73", (3, 2), 1.6),
    Region.RESPONSE: _Style("#CC79A7", (1, 1.2), 2.2),
    Region.OTHER: _Style("#000000", (6, 2, 1, 2), 1.0),
}
_PARTS = {
    "format": _Style("#0072B2", (5, 2)),
    "correctness": _Style("#D55E00"),
    "length": _Style("#009E73", (1, 1.2), 2.0),
}
_PANEL_INCHES = 1.9


def draw(found: Timeline, title: str, path: Path) -> list[Path]:
    """Draw a preview and write it as PNG and as SVG.

    Args:
        title: shown above the panels.
        path: the files' path without a suffix.

    Returns:
        the paths of the two files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    panels = _panels(found)
    figure = new_figure(7, 0.7 + _PANEL_INCHES * len(panels))
    figure.suptitle(title, fontsize=9, parse_math=False)
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        panel(axes)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False, handlelength=3.6)
    return write_figure(figure, path)


def _panels(found: Timeline) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    if found.curve:
        before = {region: [one.before[region] for one in found.curve] for region in regions_of(found.run.rest)}
        panels.append(partial(_weights, found, before, "weight before normalisation"))
        for number, row in enumerate(found.assumed.rows if found.run.rest.normalisation != "none" else ()):
            after = {r: [one.after[number][r] for one in found.curve] for r in before if row.get(r)}
            panels.append(partial(_weights, found, after, f"normalised ({row_title(row)})"))
        if lam := [one.lam for one in found.curve if one.lam is not None]:
            panels.append(partial(_curriculum, found, lam))
    if found.has_reward:
        panels.append(partial(_reward, found))
    return panels


def _weights(found: Timeline, weights: dict[Region, list[float]], title: str, axes: Axes) -> None:
    x_values = _set_x_axis(found, axes)
    for region, values in weights.items():
        axes.plot(x_values, values, label=region.label, **STYLES[region].keys())
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_ylabel("weight", fontsize=8)


def _curriculum(found: Timeline, lam: list[float], axes: Axes) -> None:
    axes.plot(_set_x_axis(found, axes), lam, color="black", linewidth=1.6)
    axes.set_ylim(-0.04, 1.04)
    axes.set_title(f"curriculum {found.run.rest.curriculum.kind}", fontsize=8, loc="left", parse_math=False)
    axes.set_ylabel("lam", fontsize=8)


def _set_x_axis(found: Timeline, axes: Axes) -> list[float]:
    """Set a panel's x label and limits; return the x values of the curve."""
    if follows_entropy(found.run.rest):
        axes.set_xlabel("structure entropy left, in % of the first step's", fontsize=8)
        axes.set_xlim(100, 0)
        return [100 * one.moment.entropy_left for one in found.curve]
    _step_axis(found, axes)
    return [one.moment.step for one in found.curve]


def _step_axis(found: Timeline, axes: Axes) -> None:
    axes.set_xlabel("step", fontsize=8)
    axes.set_xlim(1, max(found.last, 2))


def _reward(found: Timeline, axes: Axes) -> None:
    steps = curve_steps(found.last)
    bounds = [reward_bounds(found.run.rest.reward, step) for step in steps]
    length = found.run.rest.reward.length
    for part, style in _PARTS.items():
        if part == "length" and length.min == length.max:
            continue
        low, high = ([one[f"{part}_{end}"] for one in bounds] for end in ("min", "max"))
        axes.plot(steps, low, **style.keys())
        axes.plot(steps, high, label=part, **style.keys())
        if part == "correctness":
            axes.fill_between(steps, low, high, color="0.95", linewidth=0)
    _step_axis(found, axes)
    axes.set_title("bounds of the reward", fontsize=8, loc="left")
    axes.set_ylabel("reward", fontsize=8)
