"""The tools of a row: from the documents in which they are written to the schemas that readers of calls ask.

Documents come as OpenAI's tool lists and verl's tools write them (`{"type": "function", "function": {...}}`), as
BFCL's function documents (`{"name", "description", "parameters"}`, whose types are `dict`, `float`, `tuple`, `any` and
those of Java and JavaScript), or as ToolRL's rows, where `parameters` maps each parameter to its schema.

A row carries them in `extra_info.tools`: a JSON list of such documents as text, since a parquet column has one type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from rest_verl.common.logs import logger_of
from rest_verl.core.tool_calls import NO_TOOLS, ToolSchemas
from rest_verl.formats.parse.json_calls import strict_json

logger = logger_of(__name__)

# What a schema says about types. The rest (descriptions, defaults, formats) is for the model and stays in the prompt.
_OF_TYPES = ("type", "enum", "const", "nullable", "required", "$ref")
_LISTS = ("anyOf", "oneOf", "allOf")
_SINGLE = ("items", "additionalProperties")
_MAX_LEVELS = 32


def tool_schemas(documents: Iterable[Any]) -> ToolSchemas:
    """The schemas in a list of documents, by the tool's name; of one name the last counts.

    Args:
        documents: in any of the forms above, or objects with `model_dump`, as verl's.

    Raises:
        ValueError: a document has no name, or parameters that are not an object.
    """
    found = {}
    for number, document in enumerate(documents, start=1):
        plain = _plain(document)
        name, parameters = plain.get("name"), plain.get("parameters")
        if not isinstance(name, str) or not isinstance(parameters, Mapping | None):
            raise ValueError(
                f"tool {number} must be an object with a text 'name' and an object 'parameters', got {document!r:.200}"
            )
        found[name] = object_schema(parameters or {})
    return found


def object_schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object of parameters, as far as it says something about types."""
    properties = parameters.get("properties")
    is_schema = isinstance(parameters.get("type"), str | list) or (
        isinstance(properties, Mapping) and not isinstance(properties.get("type"), str)
    )
    # ToolRL's rows map each parameter to its schema without an object around them.
    is_bare = not is_schema and all(isinstance(schema, Mapping) for schema in parameters.values())
    schema = {"properties": parameters} if is_bare else parameters
    return {"type": "object", "properties": {}} | _types(schema, _MAX_LEVELS) | {"type": "object"}


def tools_text(schemas: ToolSchemas) -> str:
    """The text of `extra_info.tools`."""
    tools = [{"name": name, "parameters": schema} for name, schema in schemas.items()]
    return json.dumps(tools, ensure_ascii=False)


def read_tools(text: Any) -> ToolSchemas:
    """The schemas in the value of `extra_info.tools`: its text, or the list itself; none for None.

    Raises:
        ValueError: it is not a JSON list of documents.
    """
    if text is None:
        return NO_TOOLS
    try:
        documents = strict_json(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else text
    except (ValueError, RecursionError) as error:
        raise ValueError(f"extra_info.tools is not JSON ({error}): {text!r:.120}") from None
    if not isinstance(documents, Sequence) or isinstance(documents, str | bytes):
        raise ValueError(
            f'extra_info.tools must be a JSON list as text, such as [{{"name": "f", "parameters": {{}}}}], got '
            f"{text!r:.120}"
        )
    return tool_schemas(documents)


def tools_of_row(extra_info: Mapping[str, Any] | None) -> ToolSchemas:
    """The tools that a row carries, for a run: where they cannot be read there are none, with a warning in the log,
    once. `tools_kwargs`, which name verl's own tools, add names without types."""
    info = extra_info if isinstance(extra_info, Mapping) else {}
    text, kwargs = info.get("tools"), info.get("tools_kwargs")
    tools = _read_once(text) if isinstance(text, str | None) else _read_leniently(text)
    if isinstance(kwargs, Mapping) and kwargs.keys() - tools.keys():
        return {str(name): {} for name in kwargs} | dict(tools)
    return tools


def _read_leniently(text: Any) -> ToolSchemas:
    try:
        return read_tools(text)
    except ValueError as error:
        logger.warning("calls of rows with these tools are read without schemas (`rest-verl data check`): %s", error)
        return NO_TOOLS


# All responses to a prompt, and often all rows of a data set, have the same tools.
_read_once = lru_cache(maxsize=4096)(_read_leniently)


def _plain(document: Any) -> Mapping[str, Any]:
    """The mapping with the name and the parameters in a document; empty if there is none."""
    if hasattr(document, "model_dump"):
        document = document.model_dump(exclude_unset=True, exclude_none=True)
    if isinstance(document, Mapping) and isinstance(document.get("function"), Mapping):
        document = document["function"]
    return document if isinstance(document, Mapping) else {}


def _types(schema: Any, levels: int) -> Any:
    """A schema without what says nothing about types. None, which a parquet column puts in for a missing key, is a
    missing key."""
    if not isinstance(schema, Mapping) or not levels:
        return schema if isinstance(schema, bool) else {}
    kept: dict[str, Any] = {key: schema[key] for key in _OF_TYPES if schema.get(key) is not None}
    for key in _SINGLE:
        if schema.get(key) is not None:
            kept[key] = _types(schema[key], levels - 1)
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            kept[key] = [_types(part, levels - 1) for part in schema[key]]
    if isinstance(schema.get("properties"), Mapping):
        parts = schema["properties"].items()
        kept["properties"] = {name: _types(part, levels - 1) for name, part in parts if part is not None}
    return kept
