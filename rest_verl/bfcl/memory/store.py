"""BFCL's memories as values: bfcl-eval's own classes act on a memory that is given to them, and never on files.

A memory is what bfcl-eval writes into its snapshots, a JSON object:

    kv:       {"core_memory": {key: text}, "archival_memory": {key: text}}
    rec_sum:  {"memory": text}

bfcl-eval's third backend, `vector`, is left out: its module loads the weights of a sentence encoder when it is
imported.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
import threading
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from rest_verl.bfcl.multi_turn.executor import run_method
from rest_verl.common.names import unknown_name
from rest_verl.rollout.safe_text import replace_lone_surrogates

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23 && pip install rank-bm25"

Memory = dict[str, Any]

_EMPTY: Mapping[str, Memory] = {"kv": {"core_memory": {}, "archival_memory": {}}, "rec_sum": {"memory": ""}}
BACKENDS = tuple(_EMPTY)

_FOLDER = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
_BASE = f"{_FOLDER}.memory_api_metaclass"
_IMPORT_LOCK = threading.Lock()


def empty_memory(backend: str) -> Memory:
    """The memory before the first conversation.

    Raises:
        ValueError: there is no such backend.
    """
    if backend not in _EMPTY:
        raise ValueError(unknown_name("memory backend of BFCL", backend, BACKENDS))
    return copy.deepcopy(_EMPTY[backend])


def check_memory(backend: str, memory: Any) -> None:
    """Raise ValueError if a value is not a memory of the backend, or there is no such backend."""
    empty = empty_memory(backend)
    if not isinstance(memory, Mapping) or memory.keys() != empty.keys():
        raise ValueError(f"a memory of the backend {backend} has the keys {', '.join(empty)}, got {memory!r:.120}")
    for key, value in memory.items():
        texts = [*value, *value.values()] if isinstance(value, Mapping) else [value]
        if isinstance(value, Mapping) != isinstance(empty[key], Mapping) or not all(
            isinstance(text, str) for text in texts
        ):
            raise ValueError(f"{key}: must be of the form {empty[key]!r} with texts, got {value!r:.120}")


def text_of_memory(memory: Memory) -> str:
    """All that a memory holds, with its keys, one entry a line."""
    lines = []
    for value in memory.values():
        lines += [f"{key}: {text}" for key, text in value.items()] if isinstance(value, Mapping) else [value]
    return "\n".join(lines)


class MemoryStore:
    """The memory of one trajectory, and bfcl-eval's tools that act on it. Stores share nothing."""

    def __init__(self, backend: str, memory: Memory):
        """
        Args:
            backend: one of BACKENDS.
            memory: what is in the memory at the start; it is not changed.

        Raises:
            ValueError: there is no such backend, or the value is not a memory of it.
            ModuleNotFoundError: bfcl_eval or rank_bm25 is not installed; the message says how to install it.
        """
        check_memory(backend, memory)
        self._instance = _backend_class(backend)()
        self._fields = tuple(memory)
        for key, value in copy.deepcopy(memory).items():
            setattr(self._instance, key, value)
        self._names = frozenset(
            name
            for name, method in vars(type(self._instance)).items()
            if inspect.isfunction(method) and not name.startswith("_")
        )

    def names(self) -> frozenset[str]:
        """The names of the tools."""
        return self._names

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run a tool and return its result as text, as bfcl-eval's executor does (`multi_turn.executor.run_method`).

        Raises:
            KeyError: there is no such tool.
        """
        if name not in self._names:
            raise KeyError(name)
        return run_method(self._instance, name, arguments)  # which keeps texts alone

    def memory(self) -> Memory:
        """A copy of the memory, as text that UTF-8 can hold."""
        return {key: _sendable(getattr(self._instance, key)) for key in self._fields}

    def shown(self) -> str:
        """What the system message of the next conversation shows of the memory: the core memory, or all of it."""
        return replace_lone_surrogates(self._instance._dump_core_memory_to_context())


def _sendable(value: dict[str, str] | str) -> dict[str, str] | str:
    if isinstance(value, str):
        return replace_lone_surrogates(value)
    return {replace_lone_surrogates(key): replace_lone_surrogates(text) for key, text in value.items()}


@cache
def _backend_class(backend: str) -> type:
    """Import the class of a backend.

    Its base class only reads and writes snapshot files, in a module that needs three more packages and makes folders
    next to the installed package when it is imported: an empty class takes its place.
    """
    name = f"{_FOLDER}.memory_{backend}"
    stand_in = ModuleType(_BASE)
    stand_in.MemoryAPI = type("MemoryAPI", (), {})  # type: ignore[attr-defined]
    with _IMPORT_LOCK:
        present = sys.modules.get(_BASE)
        sys.modules[_BASE] = stand_in
        try:
            module = importlib.import_module(name)
            del sys.modules[name]  # bfcl-eval's own code has its own base class
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"BFCL's memory backend {backend} cannot be imported ({error}). Run: {INSTALL}", name=error.name
            ) from error
        finally:
            sys.modules.pop(_BASE)
            if present is not None:
                sys.modules[_BASE] = present
    return getattr(module, f"MemoryAPI_{backend}")
