"""The figures of docs/evidence.md, in docs/images/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "docs" / "images"


def picture(figure: Figure, name: str, says: str, folder: Path = FOLDER) -> str:
    """Write a figure as `<name>.png` and return the line of Markdown that shows it; `says` is read out where it cannot
    be seen."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})  # the same figure gives the same file
    return f"![{says}](images/{name}.png)"
