"""Choose one right answer among all that BFCL accepts, and read BFCL's own calls."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from rest_verl.bfcl.data.docs import java_source, javascript_source, language_of
from rest_verl.bfcl.data.files import Question
from rest_verl.core.tool_calls import ToolCall
from rest_verl.data.rows import NO_CALL, turn_of_calls

_OMITTED = ""  # BFCL lists this among the accepted values of an optional argument


def one_right_answer(question: Question, category: str) -> str:
    """Return a right answer to a question in the rlla format.

    It uses the first accepted value of each argument, written as source in Java and JavaScript, as BFCL requires. If
    BFCL accepts any call (live_relevance), it calls the first tool without arguments.
    """
    if category.endswith("irrelevance"):
        return NO_CALL
    if not question.possible_answer:
        return turn_of_calls([(str(question.functions[0]["name"]), {})])
    schemas = {_part(tool, "name"): _part(tool, "parameters") for tool in question.functions}
    return turn_of_calls(
        [
            (name, _as_source(_arguments(accepted, schemas.get(name)), schemas.get(name), category))
            for call in question.possible_answer
            for name, accepted in call.items()
        ]
    )


def _part(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, Mapping) else None


def _arguments(accepted: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """Return one right {argument: value} for {argument: [accepted value, ...]}, including nested dicts.

    It takes the first accepted value, except for "" if there is another: "" marks an optional argument, which is left
    out unless the schema requires it. In BFCL an empty list of accepted values means the value [].
    """
    required = _part(schema, "required") or ()
    arguments = {}
    for name, values in accepted.items():
        value_schema = _part(_part(schema, "properties"), name)
        if not isinstance(values, list):  # a few nested dicts hold the value itself
            arguments[name] = _plain(values, value_schema)
        elif not values:
            arguments[name] = []
        elif _OMITTED not in values or name in required:
            arguments[name] = _plain(next((v for v in values if v != _OMITTED), _OMITTED), value_schema)
    return arguments


def _plain(value: Any, schema: Any) -> Any:
    if isinstance(value, Mapping):
        return _arguments(value, schema)
    if isinstance(value, list):
        return [_plain(item, _part(schema, "items")) for item in value]
    return value


def _as_source(arguments: dict[str, Any], schema: Any, category: str) -> dict[str, Any]:
    language = language_of(category)
    if language == "Python":
        return arguments
    written = {}
    for name, value in arguments.items():
        parameter = _part(_part(schema, "properties"), name)
        type_name = str(_part(parameter, "type"))
        if language == "Java":
            written[name] = java_source(value, type_name, str(_part(_part(parameter, "items"), "type")))
        else:
            written[name] = javascript_source(value, type_name)
    return written


def call_of_source(source: Any, functions: Mapping[str, Callable[..., Any]]) -> ToolCall:
    """Parse one Python call without evaluating it.

    Args:
        source: a call of a plain name, whose arguments are literals that JSON can hold.
        functions: the callable functions by name; positional arguments get their names from the signature.

    Raises:
        ValueError: it is not such a call, the function is unknown, or it does not accept the arguments.
    """
    try:
        call = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a call in Python: {source!r:.200} ({error})") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"not a call of a plain name: {source!r:.200}")
    name = call.func.id
    if name not in functions:
        raise ValueError(f"{source!r:.200} calls {name!r}, which none of the involved classes has")
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
