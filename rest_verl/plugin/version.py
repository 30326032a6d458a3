"""Which versions of verl this package works with: the range of its own packaging, compared with what is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version

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
