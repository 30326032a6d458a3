"""Names that users choose from: one message for unknown names, and a registry that users can extend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from importlib import import_module
from typing import Generic, TypeVar


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> str:
    """Error message for a name that is not allowed."""
    names = sorted(allowed)
    near = closest(given, names)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {given!r}: {hint}allowed: {', '.join(names)}"


_NEAR = 0.6


def closest(given: str, names: Iterable[str], at_least: float = _NEAR) -> list[str]:
    """The names that are about as like a given one as the likest of them, that first; empty if none is like it.

    Args:
        at_least: how like, from 0 for nothing in common to 1 for the same but for case and `-` or `_`.
    """
    ranked = sorted((-_likeness(_folded(given), _folded(name)), name) for name in set(names))
    if not ranked:
        return []
    least = max(at_least, -ranked[0][0] - 0.05)
    return [name for unlikeness, name in ranked if -unlikeness >= least]


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


def _likeness(one: str, other: str) -> float:
    """By letters, by whole words in common (batch_size, train_batch_size), by initials (learning_rate, lr) or by the
    beginning."""
    if one == other:
        return 1.0
    words = [name.split("_") for name in (one, other)]
    initials = ["".join(word[:1] for word in name) for name in words if len(name) > 1]
    if {one, other} & set(initials):
        return 0.9
    fewer, more = sorted(map(set, words), key=len)
    in_common = 0.6 + 0.3 * len(fewer) / len(more) if fewer < more else 0.0
    if len(one) > 2 and other.startswith(one):  # qwen, qwen3_coder
        in_common = max(in_common, 0.7)
    return max(in_common, SequenceMatcher(None, one, other).ratio())


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
