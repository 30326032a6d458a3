"""Which versions of verl this package works with: the range of its own packaging, compared with what is installed.

Outside of the range the plugin registers nothing, and some versions of verl know no plugins at all: a run would end
much later with an error about something else, or train something else. So every preset names `RefuseVerl`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet


class UnsupportedVerl(RuntimeError):
    """The installed verl is outside of the range; the message is one line with the command that mends it."""


def supported() -> SpecifierSet:
    """The range, as installed metadata state it.

    Raises:
        PackageNotFoundError: this package is not installed.
    """
    needs = [Requirement(line) for line in distribution("rest-verl").requires or []]
    return next(need.specifier for need in needs if need.name == "verl")


def check_verl() -> None:
    """Compare the installed verl with the range. Where one of the two is not installed, only on a path, there is
    nothing to compare, and the doctor says so.

    Raises:
        UnsupportedVerl: see there.
    """
    try:
        allowed, found, own = supported(), version("verl"), version("rest-verl")
    except PackageNotFoundError:
        return
    if not allowed.contains(found, prereleases=True):
        raise UnsupportedVerl(
            f"rest-verl {own} works with verl {allowed}, and verl {found} is installed: pip install 'verl{allowed}'"
        )


class RefuseVerl(Callback):
    """Hydra callback of every preset: ends the process with status 1 and one line where verl is of another version."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_verl()
        except UnsupportedVerl as error:
            # Hydra makes a warning of any other exception of a callback
            raise SystemExit(str(error)) from None
