"""Read tool descriptions, as far as the verdict needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from rest_verl.bfcl.verdict import java, javascript
from rest_verl.bfcl.verdict.source import Undecidable


@dataclass(frozen=True)
class Language:
    """The language of a category's calls.

    Attributes:
        types: Python's type by the type's name in a schema.
        typed_elements: the names of collections whose schema gives the type of their elements.
        as_text: whether a model must write every argument as a string of source text.
        read: function from an argument, its declared type and the type of its elements (or None) to its value.
    """

    types: Mapping[str, type]
    typed_elements: frozenset[str]
    as_text: bool
    read: Callable[[Any, str, str | None], Any]


def _read_json(value: Any, declared: str, element: str | None) -> Any:
    """An integer is accepted as a float."""
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


@dataclass(frozen=True)
class Tool:
    """A tool: its name, the schema of each argument, and the arguments that it requires."""

    name: str
    schemas: Mapping[str, Any]
    required: list[str]


@dataclass(frozen=True)
class Parameter:
    """An argument's schema: the name of its type and Python's type, and those of its elements if they are given."""

    declared: str
    outer: type
    declared_element: str | None = None
    element: type | None = None


def read_tool(function: Mapping[str, Any]) -> Tool:
    """Read BFCL's description of a tool.

    Raises:
        Undecidable: it has no `name`, or its `parameters` do not hold `properties` and a list of names `required`.
    """
    name, parameters = function.get("name"), function.get("parameters")
    schemas = parameters.get("properties") if isinstance(parameters, Mapping) else None
    required = parameters.get("required") if isinstance(parameters, Mapping) else None
    if not isinstance(name, str) or not isinstance(schemas, Mapping) or not _is_list_of_names(required):
        raise Undecidable("a tool without a name, parameters.properties or parameters.required")
    return Tool(name, schemas, required)


def _is_list_of_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def read_parameter(schema: Any, language: Language) -> Parameter:
    """Read the schema of one argument.

    Raises:
        Undecidable: it, or the elements of a collection, have no type that the language knows.
    """
    declared, outer = _type(schema, language)
    if declared not in language.typed_elements:
        return Parameter(declared, outer)
    return Parameter(declared, outer, *_type(schema.get("items"), language))


def _type(schema: Any, language: Language) -> tuple[str, type]:
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(declared, str) or declared not in language.types:
        raise Undecidable("a schema without a type that BFCL knows")
    return declared, language.types[declared]
