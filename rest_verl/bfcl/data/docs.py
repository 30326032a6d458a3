"""The tools as BFCL shows them to a model: each doc names its language; Java and JavaScript values are source text.

The sentences are the benchmark's own, since a model trained here should see what it will be tested on. Tests compare
them with the installed package.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Language = Literal["Python", "Java", "JavaScript"]

_SYNTAX = {"Python": "Python 3", "Java": "Java 8 SDK", "JavaScript": "JavaScript"}
_LISTS = {"Java": ("ArrayList", "Array"), "JavaScript": ("array",)}


def language_of(category: str) -> Language:
    """Return the language of a category's calls."""
    if "javascript" in category:
        return "JavaScript"
    return "Java" if "java" in category else "Python"


def functions_with_hints(functions: Sequence[Mapping[str, Any]], category: str) -> list[dict[str, Any]]:
    """Return the docs of a category's tools as a model sees them; the given docs are not changed.

    Raises:
        ValueError: a doc does not have BFCL's form.
    """
    try:
        return [_with_hints(copy.deepcopy(dict(function)), language_of(category)) for function in functions]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"a tool's doc does not have BFCL's form: {error!r}") from error


def _with_hints(function: dict[str, Any], language: Language) -> dict[str, Any]:
    hint = f" Note that the provided function is in {_SYNTAX[language]} syntax."
    if language != "Python":
        for parameter in function["parameters"]["properties"].values():
            _show_as_source(parameter, language)
    return {**function, "description": function.get("description", "") + hint}


def _show_as_source(parameter: dict[str, Any], language: Language) -> None:
    """Change a parameter's type to `string` and describe what the string stands for."""
    type_name = parameter["type"]
    hints = [parameter.get("description", "")]
    if type_name == "any":
        hints.append(f"This parameter can be of any type of {language} object in string representation.")
    else:
        hints.append(f"This is {language} {type_name} type parameter in string representation.")
    if type_name in _LISTS[language]:
        item_type = parameter.pop("items")["type"]
        hints.append(f"The list elements are of type {item_type}; they are not in string representation.")
    if type_name == "dict" and language == "JavaScript" and "properties" in parameter:
        schema = json.dumps(parameter.pop("properties"))
        hints.append(
            f"The dictionary entries have the following schema; they are not in string representation. {schema}"
        )
    parameter |= {"description": " ".join(hints), "type": "string"}


_JAVA_TYPES = {"integer": "int", "any": "Object"}


def java_source(value: Any, type_name: str, item_type: str = "any") -> str:
    """Return a value as Java source.

    Args:
        value: bool, int, float, str, or a list or dict of them.
        type_name: the parameter's type in BFCL's doc.
        item_type: the type of a list's items in BFCL's doc.
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
    """Return a value as JavaScript source; arguments as for `java_source`."""
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
