"""How arguments are written and typed in each language of BFCL's categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rest_verl.bfcl.verdict import java, javascript
from rest_verl.bfcl.verdict.source import Undecidable


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        types: the type of a value, by the name that a schema gives it.
        typed_elements: the names of the collections whose schema gives the type of their elements.
        as_text: whether a model must write every argument as a string of source text.
        read: from an argument, its declared type and the type of its elements (or None) to its value.
    """

    types: Mapping[str, type]
    typed_elements: frozenset[str]
    as_text: bool
    read: Callable[[Any, str, str | None], Any]


def _read_json(value: Any, declared: str, element: str | None) -> Any:
    """An integer serves where a float is asked for."""
    if declared != "float" or type(value) is not int:
        return value
    try:
        return float(value)
    except OverflowError:
        raise Undecidable("an integer too large for a float") from None


PYTHON = Language(
    {
        "string": str,
        "integer": int,
        "float": float,
        "boolean": bool,
        "array": list,
        "tuple": list,
        "dict": dict,
        "any": str,
    },
    frozenset({"array", "tuple"}),
    as_text=False,
    read=_read_json,
)
JAVA = Language(java.TYPES, frozenset({"Array", "ArrayList"}), as_text=True, read=java.read_java)
JAVASCRIPT = Language(javascript.TYPES, frozenset({"array"}), as_text=True, read=javascript.read_javascript)
