"""Names that users choose from: one message for unknown names, and a registry that users can extend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Generic, TypeVar


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> str:
    """Error message for a name that is not allowed."""
    names = sorted(allowed)
    near = get_close_matches(given, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {given!r}: {hint}allowed: {', '.join(names)}"


T = TypeVar("T")


class Registry(Generic[T]):
    """Values of one kind by name."""

    def __init__(self, kind: str, built_in: Mapping[str, T] | None = None, modules: Mapping[str, str] | None = None):
        """
        Args:
            kind: what the values are, for messages.
            built_in: the initial values.
            modules: maps a name to the module that registers it on import. The module is imported when the name is
                first requested, so built-in values can live in packages that nobody else has to import.
        """
        self._kind = kind
        self._values = dict(built_in or {})
        self._modules = dict(modules or {})

    def check_free(self, name: str) -> None:
        """Raise ValueError if the name is taken."""
        self._import(name)  # does nothing if that module itself is asking
        if name in self._values:
            raise ValueError(f"{self._kind} {name!r} is already registered")

    def add(self, name: str, value: T) -> None:
        """Add a value; ValueError if the name is taken."""
        self.check_free(name)
        self._values[name] = value

    def get(self, name: str) -> T:
        """Return a value; ValueError with the closest name and all known names if there is none."""
        self._import(name)
        if name not in self._values:
            raise ValueError(unknown_name(self._kind, name, self.names()))
        return self._values[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._values.keys() | self._modules.keys())

    def _import(self, name: str) -> None:
        if (module := self._modules.pop(name, None)) is not None:
            import_module(module)
