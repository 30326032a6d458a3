"""BFCL's multi-turn ground truth, Python source such as `mv(source='a.txt', destination='old')`, as calls by value."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from rest_verl.core.tool_calls import ToolCall


def call_of_source(source: Any, functions: Mapping[str, Callable[..., Any]]) -> ToolCall:
    """Read one call; nothing of it is evaluated.

    Args:
        source: a call of a plain name, whose arguments are literals that JSON can hold.
        functions: those that can be called, by name; positional arguments get their names from the signature.

    Raises:
        ValueError: it is something else, or the function is not there or cannot take the arguments.
    """
    try:
        call = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a call in Python: {source!r:.200} ({error})") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"not a call of a plain name: {source!r:.200}")
    name = call.func.id
    if name not in functions:
        raise ValueError(f"{source!r:.200} calls {name!r}, which none of the classes involved has")
    try:
        given = [ast.literal_eval(value) for value in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        # the first parameter is `self`
        bound = inspect.signature(functions[name]).bind(None, *given, **named).arguments
        arguments = dict(list(bound.items())[1:])
        if json.loads(json.dumps(arguments, allow_nan=False)) != arguments or len(named) != len(call.keywords):
            raise ValueError("an argument that JSON cannot hold")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source!r:.200}: {error}") from None
    return ToolCall(name, arguments)
