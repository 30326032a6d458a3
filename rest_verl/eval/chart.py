"""A bar chart of scores with 95 % intervals, for one model or for two side by side; legible in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rest_verl.common.figures import new_figure, write_figure
from rest_verl.eval.statistics import Estimate


@dataclass(frozen=True)
class _Fill:
    color: str
    hatch: str | None = None


_FILLS = (_Fill("0.6"), _Fill("0.92", "///"))
_INCH_PER_BAR = 0.17


def draw_bars(
    models: Mapping[str, Mapping[str, Estimate]], sections: Sequence[Sequence[str]], title: str, path: Path
) -> list[Path]:
    """Draw horizontal bars and write them as PNG and as SVG.

    Args:
        models: one or two; each model's estimates by score, in [0, 1]. All have the same scores.
        sections: the scores from top to bottom, with a gap between sections.
        title: shown above the bars.
        path: the files' path without a suffix.

    Returns:
        the paths of the two files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    import numpy as np

    heights, names = _places(sections)
    thickness = 0.8 / len(models)
    bars = len(names) * len(models) + 2 * len(sections)
    figure = new_figure(8, 1.2 + _INCH_PER_BAR * bars * (1.3 if len(models) == 1 else 1))
    axes = figure.add_subplot()
    for number, (model, estimates) in enumerate(models.items()):
        shift = (number - (len(models) - 1) / 2) * thickness
        shown = [estimates[name] for name in names]
        errors = [_error(one) for one in shown]
        axes.barh(
            [height + shift for height in heights],
            [100 * one.mean for one in shown],
            height=thickness,
            xerr=100 * np.transpose(errors),
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "black"},
            label=model,
            color=_FILLS[number].color,
            hatch=_FILLS[number].hatch,
            edgecolor="0.4",
        )
        for height, one, (_, above) in zip(heights, shown, errors, strict=True):
            axes.text(100 * (one.mean + above) + 1, height + shift, f"{100 * one.mean:.1f}", va="center", fontsize=7)
    axes.set_yticks(heights, names, fontsize=8)
    axes.set_ylim(heights[-1] + 0.6, heights[0] - 0.6)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20), [str(tick) for tick in range(0, 101, 20)], fontsize=8)
    axes.set_xlabel("correct answers in %, with 95 % intervals", fontsize=8)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    if len(models) > 1:
        legend = figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a model's name is not a formula
    return write_figure(figure, path)


def _error(one: Estimate) -> tuple[float, float]:
    """Lengths of the interval below and above the mean."""
    return one.mean - one.low, one.high - one.mean


def _places(sections: Sequence[Sequence[str]]) -> tuple[list[float], list[str]]:
    """The vertical position of each bar, counted downwards, and its name."""
    heights: list[float] = []
    names: list[str] = []
    for number, section in enumerate(sections):
        for name in section:
            heights.append(len(names) + 0.6 * number)
            names.append(name)
    return heights, names
