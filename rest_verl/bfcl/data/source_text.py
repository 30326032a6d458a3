"""Values as Java and JavaScript source, in the spelling that BFCL's checker reads back.

The checker takes text apart with a few patterns, not with a parser, and they decide what can be written: an item of a
Java array stands bare, for its quotes would be taken for part of it, while one of an ArrayList is quoted. Text that is
a whole argument stands bare too: it may be the name of a variable, and nothing tells the two apart.
"""

from __future__ import annotations

from typing import Any

_JAVA_TYPES = {"integer": "int", "any": "Object"}


def java_source(value: Any, type_name: str, item_type: str = "any") -> str:
    """Return a value as Java source.

    Args:
        value: bool, int, float, str, or a list or dict of them.
        type_name: the type that BFCL's doc gives the parameter.
        item_type: the type that it gives the items of a list.
    """
    if isinstance(value, dict):
        puts = "".join(f'put("{key}", {_java_value(item)}); ' for key, item in value.items())
        return f"new HashMap<>() {{{{ {puts}}}}}" if puts else "new HashMap<>()"
    if isinstance(value, list) and type_name == "Array":
        items = ", ".join(java_source(item, item_type) for item in value)
        return f"new {_JAVA_TYPES.get(item_type, item_type)}[]{{{items}}}"
    if isinstance(value, list):
        items = ", ".join(_quoted(item) if item_type == "String" else java_source(item, item_type) for item in value)
        return f"new ArrayList<>(Arrays.asList({items}))" if items else "new ArrayList<>()"
    suffix = {"long": "L", "float": "f"}.get(type_name, "") if not isinstance(value, str | bool) else ""
    return _scalar(value) + suffix


def javascript_source(value: Any, type_name: str) -> str:
    """Return a value as JavaScript source; the arguments are those of `java_source`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {_javascript_item(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_javascript_item, value)) + "]"
    return _scalar(value) + ("n" if type_name == "Bigint" and not isinstance(value, str) else "")


def _java_value(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else java_source(value, "any")


def _javascript_item(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else javascript_source(value, "any")


def _quoted(value: Any) -> str:
    return f'"{value}"'


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
