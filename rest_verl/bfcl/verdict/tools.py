"""What a tool's description says, as far as the verdict needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from rest_verl.bfcl.verdict.languages import Language
from rest_verl.bfcl.verdict.source import Undecidable


@dataclass(frozen=True)
class Tool:
    """A tool: its name, the schema of each argument, and the arguments that it requires."""

    name: str
    schemas: Mapping[str, Any]
    required: list[str]


@dataclass(frozen=True)
class Parameter:
    """What a schema says of an argument: its type's name and type, and those of its elements where they are given."""

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
        Undecidable: it has no type that the language knows, or the elements of a collection have none.
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
