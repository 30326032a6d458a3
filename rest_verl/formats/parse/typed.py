"""A value that a format writes as bare text, read by the type that the tool's schema declares.

`94107` is a text where the tool declares a string and a number where it declares an integer: only the schema knows.

- A declared string is the text to the letter, white space and quotes included.
- Any other declared type is read as JSON, then as a Python literal (`True`, `None`, `{'a': 1}`, tuples as arrays),
  since the chat templates of some models write Python, then as a constant in any case (`TRUE`, `Null`).
- Of several types (`anyOf`, a list of types, `nullable`) the text itself comes last: `null` is null where null is
  allowed. A value that `enum` lists comes first.
- A text that fits none of the types has no value, and its call cannot be read. There are no exceptions, so no value
  is of another type than its schema declares.
- A parameter whose schema declares no type that is known here is strict JSON if it is JSON, otherwise text.

verl's own parser of `qwen3_coder` reads by type as well. It keeps the text where a number or a list does not fit,
takes `false` for a boolean that does not, and null for the text `null` of any type; such values would reach a tool
that expects another type. The values inside of a list or an object have types of their own and stay as they are
written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rest_verl.core.tool_calls import ToolSchemas
from rest_verl.formats.parse.json_calls import BeyondRange, strict_json
from rest_verl.formats.parse.python_calls import python_literal

_NUMBER = frozenset({"integer", "number"})
# The first word of a type's name, in lower case, as JSON schema, Python, BFCL, Java, JavaScript and SQL write it.
_TYPES = [
    (re.compile(r"\s*(?:string|str|text|varchar|char|character|enum)\b"), frozenset({"string"})),
    (re.compile(r"\s*(?:bigint|byte|(?:int|uint|long|short|unsigned)\w*)\b"), frozenset({"integer"})),
    (re.compile(r"\s*(?:double|decimal|real|(?:num|float)\w*)\b"), _NUMBER),
    (re.compile(r"\s*(?:boolean|bool|binary)\b"), frozenset({"boolean"})),
    (re.compile(r"\s*(?:object|map|mapping|hashmap|record|dict\w*)\b"), frozenset({"object"})),
    (re.compile(r"\s*(?:tuple|set|sequence|(?:array|list)\w*)\b"), frozenset({"array"})),
    (re.compile(r"\s*(?:null|none|nonetype)\b"), frozenset({"null"})),
]
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_MAX_LEVELS = 16  # of schemas in schemas, which may come from anywhere
_MAX_EXACT = 2**53  # whole numbers up to here are the same as floats


def parameter_schema(tools: ToolSchemas, tool: str, parameter: str) -> Any:
    """The schema of a tool's parameter; None if the tool or the parameter is unknown."""
    schema = tools.get(tool)
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if isinstance(properties, Mapping) and parameter in properties:
        return properties[parameter]
    return schema.get("additionalProperties") if isinstance(schema, Mapping) else None


def value_of_text(text: str, schema: Any) -> Any:
    """The value of a bare text.

    Args:
        text: the value as written, without what the format puts around it.
        schema: JSON schema of the parameter, in any of the dialects above; None if it is unknown.

    Raises:
        ValueError: the text is not of the declared type.
    """
    kinds = kinds_of(schema)
    if kinds is None:
        return json_or_text(text)
    if kinds == {"string"}:  # nothing else can fit, so a long text is not parsed for nothing
        return text
    fitting = [value for value in _readings(text) if _kind(value) in kinds]
    if not fitting:
        raise ValueError(f"{text!r:.80} is none of {', '.join(sorted(kinds))}")
    listed = schema.get("enum")
    if isinstance(listed, list):
        fitting.sort(key=lambda value: not any(_is_same(value, one) for one in listed))
    return fitting[0]


def kinds_of(schema: Any, levels: int = _MAX_LEVELS) -> frozenset[str] | None:
    """The JSON types that a schema allows, of string, integer, number (which has integer with it), boolean, null,
    array and object; None if it allows any, or if nothing is known about them."""
    if not isinstance(schema, Mapping) or not levels or "$ref" in schema:
        return None
    all_of = schema.get("allOf")
    parts = [
        _declared(schema),
        *(_union(schema[key], levels) for key in ("anyOf", "oneOf") if key in schema),
        *(kinds_of(part, levels - 1) for part in (all_of if isinstance(all_of, list) else ())),
    ]
    known = [part for part in parts if part is not None]
    if not known:
        return None
    kinds = frozenset.intersection(*known)
    return kinds | {"null"} if schema.get("nullable") is True else kinds


def json_or_text(text: str) -> Any:
    """The value of strict JSON; the text itself if it is not JSON. BeyondRange if all that keeps it from being JSON is
    a number too large for a double: text would not be what the model meant."""
    try:
        return strict_json(text.encode("utf-8"))
    except BeyondRange:
        raise
    except (ValueError, RecursionError):
        return text


def _declared(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """What `type` allows or, without it, the values of `const` and `enum`."""
    if "type" in schema:
        given = schema["type"]
        names = given if isinstance(given, list) else [given]
        return _together([_kinds_of_name(name) for name in names])
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return frozenset(map(_kind, values)) if isinstance(values, list) and values else None


def _kinds_of_name(name: Any) -> frozenset[str] | None:
    """What one name of a type allows, such as `integer`, `List[int]` or `str, optional`."""
    written = name.lower() if isinstance(name, str) else ""
    return next((kinds for names, kinds in _TYPES if names.match(written)), None)


def _union(schemas: Any, levels: int) -> frozenset[str] | None:
    """What any of several schemas allows."""
    if not isinstance(schemas, Sequence) or isinstance(schemas, str) or not schemas:
        return None
    return _together([kinds_of(schema, levels - 1) for schema in schemas])


def _together(parts: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """What any of at least one part allows; None if nothing is known about one."""
    known = [part for part in parts if part is not None]
    return frozenset[str]().union(*known) if known and len(known) == len(parts) else None


def _readings(text: str) -> Iterator[Any]:
    """All that a text may mean, the most likely first. A quoted string is no reading: text needs no quotes."""
    for read in (_json, python_literal):
        try:
            value = read(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, str):
            yield value
        if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT:
            yield int(value)  # 5.0 is an integer in JSON schema
    if (word := text.strip().lower()) in _CONSTANTS:
        yield _CONSTANTS[word]
    yield text


def _json(text: str) -> Any:
    return strict_json(text.strip().encode("utf-8"))


def _kind(value: Any) -> str:
    """The JSON type of a JSON value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float):
        return "number" if math.isfinite(value) else "no JSON"
    names = {int: "integer", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null" if value is None else "no JSON")


def _is_same(value: Any, listed: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    return value == listed and isinstance(value, bool) == isinstance(listed, bool)
