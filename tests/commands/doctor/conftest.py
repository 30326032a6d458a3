"""Distributions that are there by their metadata alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install() -> Install:
    """Function that puts the metadata of a distribution into a folder of `sys.path`, as pip would."""

    def write(
        site: Path, name: str, version: str, requires: Sequence[str] = (), python: str = ">=3.10", entry: str = ""
    ) -> None:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", f"Requires-Python: {python}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        if entry:
            (info / "entry_points.txt").write_text(f"[verl.plugins]\n{entry}\n")

    return write
