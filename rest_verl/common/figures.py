"""What all charts share: an optional matplotlib, and reproducible PNG and SVG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rest_verl.common.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = ("png", "svg")


def new_figure(width: float, height: float, dpi: int = 150) -> Figure:
    """An empty figure with constrained layout.

    Args:
        width, height: in inches.
        dpi: pixels per inch of the PNG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
    """
    require("matplotlib", "plot", "charts")
    from matplotlib import figure

    return figure.Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def write_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and as SVG.

    Args:
        figure: from `new_figure`.
        path: the files' path without a suffix; a missing folder is created.

    Returns:
        the paths of the two files.
    """
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_name(f"{path.name}.{kind}") for kind in _KINDS]
    # a fixed salt and no date or version, so that the same figure gives the same files
    with matplotlib.rc_context({"svg.hashsalt": "rest-verl"}):
        for file, kind in zip(files, _KINDS, strict=True):
            figure.savefig(file, metadata={"Date": None} if kind == "svg" else {"Software": None})
            figure.set_layout_engine("none")  # the layout is done, and computing it again takes as long as drawing
    return files
