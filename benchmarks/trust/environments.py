"""Virtual environments whose packages are links to those of the running one: made in a moment, and without any one
distribution, so that what it changes can be seen in the same interpreter beside the same files."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions
from pathlib import Path
from venv import EnvBuilder


def linked_environment(folder: Path, without: str | None = None, modules: Sequence[Path] = ()) -> Path:
    """Make an environment anew.

    Args:
        folder: where; what was there goes.
        without: distribution that the environment does not have; everything in its top-level folders is left out.
        modules: files that can be imported there beside the packages.

    Returns:
        its Python.

    Raises:
        PackageNotFoundError: there is no such distribution.
    """
    left_out = set() if without is None else _top_level(without)
    EnvBuilder(clear=True, symlinks=True, with_pip=False).create(folder)
    here = Path(sysconfig.get_path("purelib"))
    site = folder.resolve() / here.relative_to(sys.prefix)
    for entry in here.iterdir():
        if entry.name not in left_out:
            (site / entry.name).symlink_to(entry)
    for module in modules:
        (site / module.name).symlink_to(module.resolve())
    return folder.resolve() / "bin" / "python"


def variables_of(python: Path) -> dict[str, str]:
    """This process's variables for a process of another Python: its commands come first, no module comes from anywhere
    else, no model is looked for on a network, and a pytest in it does not take itself for a part of the one here."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "PYTEST_")
    here = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return here | {"PATH": path, "VIRTUAL_ENV": str(python.parents[1]), "HF_HUB_OFFLINE": "1"}


def site_of(python: Path) -> Path:
    """Where the packages of a linked environment are."""
    return python.parents[1] / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)


def _top_level(name: str) -> set[str]:
    # As it is installed: in a checkout that was built from, setuptools leaves another description of it, which
    # `distribution` finds first where Python was started there.
    found = next(iter(distributions(name=name, path=[sysconfig.get_path("purelib")])), None)
    if found is None:
        raise PackageNotFoundError(name)
    return {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}
