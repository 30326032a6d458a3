"""One right answer out of all that BFCL accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_verl.bfcl.data.docs import language_of
from rest_verl.bfcl.data.files import Question
from rest_verl.bfcl.data.source_text import java_source, javascript_source
from rest_verl.data.answers import NO_CALL, turn_of_calls

_OMITTED = ""  # BFCL lists this among the accepted values of an argument that may be left out


def one_right_answer(question: Question, category: str) -> str:
    """Return text in the rlla format that answers a question.

    Of the accepted values the first counts. In Java and JavaScript each is written as source, as BFCL wants it. Where
    BFCL accepts any call (live_relevance), the first tool is called with no arguments.
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
    """Return one right {argument: value} out of {argument: [accepted value, ...]}, nested dicts included.

    Of the accepted values the first counts, with "" passed over where another is left: "" marks an argument that may
    be left out, and one that the schema does not require is left out. An empty list of accepted values appears in
    BFCL where an empty list is the value.
    """
    required = _part(schema, "required") or ()
    arguments = {}
    for name, values in accepted.items():
        value_schema = _part(_part(schema, "properties"), name)
        if not isinstance(values, list):  # a few nested dicts hold the bare value
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
