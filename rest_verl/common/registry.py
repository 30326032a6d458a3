"""Named things that users may add to: one wording for a name that is unknown, and for one that is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from rest_verl.common.suggest import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Values of one kind by name."""

    def __init__(self, kind: str, built_in: Mapping[str, T]):
        """
        Args:
            kind: what the values are, for messages.
            built_in: those that are there from the start.
        """
        self._kind = kind
        self._values = dict(built_in)

    def check_free(self, name: str) -> None:
        """Raise ValueError if the name is taken."""
        if name in self._values:
            raise ValueError(f"{self._kind} {name!r} is already registered")

    def add(self, name: str, value: T) -> None:
        """Add a value; ValueError if the name is taken."""
        self.check_free(name)
        self._values[name] = value

    def get(self, name: str) -> T:
        """Return a value; ValueError names the nearest and all known ones."""
        if name not in self._values:
            raise ValueError(unknown_name(self._kind, name, self._values))
        return self._values[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._values)
