"""Supported versions of verl: the range in this package's own metadata, compared with the installed version.

Outside of the range the plugin registers nothing, and some versions of verl have no plugins at all: a run would fail
much later with an unrelated error, or train something else. So every preset names `RefuseVerl`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet


class UnsupportedVerl(RuntimeError):
    """The installed verl is not supported; the message is one line with the command that fixes it."""


def supported_versions() -> SpecifierSet:
    """Supported versions of verl, from this package's installed metadata.

    Raises:
        PackageNotFoundError: this package is not installed.
    """
    needs = [Requirement(line) for line in distribution("rest-verl").requires or []]
    return next(need.specifier for need in needs if need.name == "verl")


def check_verl() -> None:
    """Compare the installed verl with the supported range. Does nothing if verl or this package is only on a path and
    not installed: then there are no metadata to compare, and the doctor says so.

    Raises:
        UnsupportedVerl: the installed verl is outside of the range.
    """
    try:
        allowed, found, own = supported_versions(), version("verl"), version("rest-verl")
    except PackageNotFoundError:
        return
    if not allowed.contains(found, prereleases=True):
        raise UnsupportedVerl(
            f"rest-verl {own} works with verl {allowed}, and verl {found} is installed: pip install 'verl{allowed}'"
        )


class RefuseVerl(Callback):
    """Hydra callback of every preset: with an unsupported verl, ends the process with status 1 and one line."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_verl()
        except UnsupportedVerl as error:
            # Hydra turns any other exception of a callback into a warning
            raise SystemExit(str(error)) from None
