"""Answers to BFCL's questions: right ones out of the accepted values, and ones that differ from them a little."""

import copy
import random
from typing import Any

from bfcl_reference import Question

from rest_verl.core.tool_calls import ToolCall

SOURCE_CATEGORIES = ("simple_java", "simple_javascript")
_CHARACTERS = "\"'{}[]()<>,:;.-_ \n\t*^/19lLfFnNeEtT"


def right_answer(question: Question, category: str, rng: random.Random | None = None) -> list[ToolCall]:
    """Calls of accepted values: the first ones of each argument, or with `rng` any."""
    schemas = {function["name"]: function["parameters"] for function in question.functions}
    return [
        ToolCall(name, _arguments(accepted, schemas[name], category, rng))
        for answer in question.possible_answer
        for name, accepted in answer.items()
    ]


def _arguments(accepted: dict[str, Any], schema: dict[str, Any], category: str, rng: random.Random | None) -> Any:
    arguments = {}
    for key, values in accepted.items():
        if "" in values and key not in schema["required"] and (rng is None or rng.random() < 0.5):
            continue
        value = _choose(values, rng)
        if category in SOURCE_CATEGORIES:
            value = _source(value, schema["properties"][key], category, rng or random.Random(0))
        arguments[key] = value
    return arguments


def _choose(values: Any, rng: random.Random | None) -> Any:
    """One of the accepted values, with one of the accepted values of each key of a dict."""
    if not isinstance(values, list):
        return values
    choices = [value for value in values if value != ""] or values or [[]]
    return _chosen(choices[0] if rng is None else rng.choice(choices), rng)


def _chosen(value: Any, rng: random.Random | None) -> Any:
    if isinstance(value, dict):
        return {key: _choose(options, rng) for key, options in value.items()}
    return [_chosen(item, rng) for item in value] if isinstance(value, list) else value


def _source(value: Any, schema: dict[str, Any], category: str, rng: random.Random) -> str:
    """A value as source text. Text of another type than the schema's names a variable and stays as it is."""
    element = schema.get("items", {}).get("type")
    if category == "simple_java":
        return _java(value, schema["type"], element, rng)
    return _javascript(value, element)


def _java(value: Any, declared: str, element: str | None, rng: random.Random) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value}{ {'long': 'L', 'float': 'f'}.get(declared, '') }"
    if isinstance(value, dict):
        puts = " ".join(f"put({_quote(key)}, {_inner_java(item)});" for key, item in value.items())
        return rng.choice(["new HashMap<>() {{ %s }}", "new HashMap<String, Object>() {{%s}}"]) % puts
    if isinstance(value, list) and declared == "Array":
        return f"new {element}[]{{{', '.join(_java(item, str(element), None, rng) for item in value)}}}"
    if isinstance(value, list):
        items = [f'"{item}"' if element == "String" else _java(item, str(element), None, rng) for item in value]
        as_list = f"new ArrayList<>(Arrays.asList({', '.join(items)}))"
        adds = f"new ArrayList<Object>() {{{{ {' '.join(f'add({item});' for item in items)} }}}}"
        return rng.choice([as_list, adds])
    return str(value)


def _inner_java(value: Any) -> str:
    return _quote(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _javascript(value: Any, element: str | None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inner_javascript(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inner_javascript(item) for item in value) + "]"
    return str(value)


def _inner_javascript(value: Any) -> str:
    return _quote(value) if isinstance(value, str) else _javascript(value, None)


def _quote(text: str) -> str:
    return f'"{text}"'


def mutated(calls: list[ToolCall], rng: random.Random) -> list[ToolCall]:
    """The calls with one to three changes."""
    calls = [ToolCall(call.name, copy.deepcopy(call.arguments)) for call in calls]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not calls or rng.random() < 0.12:
            _change_list(calls, rng)
        else:
            number = rng.randrange(len(calls))
            calls[number] = _changed_call(calls[number], rng)
    return calls


def _change_list(calls: list[ToolCall], rng: random.Random) -> None:
    match rng.choice(("shuffle", "drop", "repeat", "add")):
        case "shuffle":
            rng.shuffle(calls)
        case "drop" if calls:
            del calls[rng.randrange(len(calls))]
        case "repeat" if calls:
            calls[rng.randrange(len(calls))] = copy.deepcopy(rng.choice(calls))
        case _:
            calls.append(copy.deepcopy(rng.choice(calls)) if calls else ToolCall("f", {}))


def _changed_call(call: ToolCall, rng: random.Random) -> ToolCall:
    arguments, keys = dict(call.arguments), list(call.arguments)
    match rng.choice(("name", "drop", "add", "rename", "order", *["value"] * 12)):
        case "name":
            return ToolCall(_changed_text(call.name, rng), arguments)
        case "drop" if keys:
            del arguments[rng.choice(keys)]
        case "rename" if keys:
            key = rng.choice(keys)
            arguments[_changed_text(key, rng)] = arguments.pop(key)
        case "order":
            rng.shuffle(keys)
            arguments = {key: arguments[key] for key in keys}
        case "value" if keys:
            key = rng.choice(keys)
            arguments[key] = _changed(arguments[key], rng)
        case _:
            arguments[rng.choice(("extra", "unit", ""))] = rng.choice((1, "x", None, []))
    return ToolCall(call.name, arguments)


def _changed(value: Any, rng: random.Random) -> Any:
    """A value that differs in type or in content, perhaps only in what BFCL overlooks."""
    if rng.random() < 0.15:
        return rng.choice((None, "", [], {}, 0, 1, True, False, [value], {"value": value}, str(value), [[]], 10**400))
    if isinstance(value, bool):
        return rng.choice((not value, int(value), str(value), str(value).lower(), float(value)))
    if isinstance(value, (int, float)):
        return rng.choice(
            (float(value) if abs(value) < 1e300 else 0.0, int(value), str(value), value + 1, bool(value))
        )
    if isinstance(value, str):
        return rng.choice((_changed_text, _changed_case, _changed_marks, _changed_text))(value, rng)
    if isinstance(value, list) and value:
        return _changed_list(value, rng)
    if isinstance(value, dict) and value:
        return _changed_dict(value, rng)
    return rng.choice(([""], {"": ""}, None, "", [], {}))


def _changed_list(value: list[Any], rng: random.Random) -> Any:
    value, number = list(value), rng.randrange(len(value))
    match rng.choice(("item", "item", "item", "drop", "repeat", "reverse", "nest")):
        case "item":
            value[number] = _changed(value[number], rng)
        case "drop":
            del value[number]
        case "repeat":
            value.insert(number, value[number])
        case "reverse":
            value.reverse()
        case "nest":
            return [value]
    return value


def _changed_dict(value: dict[str, Any], rng: random.Random) -> Any:
    value, key = dict(value), rng.choice(list(value))
    match rng.choice(("item", "item", "item", "drop", "rename", "add", "nest")):
        case "item":
            value[key] = _changed(value[key], rng)
        case "drop":
            del value[key]
        case "rename":
            value[_changed_text(key, rng)] = value.pop(key)
        case "add":
            value["extra"] = 1
        case "nest":
            return [value]
    return value


def _changed_case(text: str, rng: random.Random) -> str:
    return rng.choice((text.upper(), text.lower(), text.title(), text.swapcase()))


def _changed_marks(text: str, rng: random.Random) -> str:
    """Other blanks, punctuation and quotes, as BFCL overlooks some; quotes and suffixes as source text has them."""
    changes = (
        text.replace(" ", ""),
        text.replace(" ", "_"),
        text.replace(",", ""),
        text.replace("'", '"'),
        text.replace('"', "'"),
        text.replace('"', ""),
        text + rng.choice(".,;!- \n"),
        text + rng.choice("LlfFdDn"),
        text.rstrip("LlfFdDn"),
        f'"{text}"',
        f"'{text}'",
        text.strip("\"'"),
        f"[{text}]",
        f"{{{text}}}",
        text.replace(", ", ","),
        text.replace(", ", " ,\n "),
    )
    return rng.choice(changes)


def _changed_text(text: str, rng: random.Random) -> str:
    """One character more, fewer or another, or a part of it twice."""
    start = rng.randrange(len(text) + 1)
    stop = min(len(text), start + rng.randrange(1, 4))
    part = rng.choice(("", rng.choice(_CHARACTERS), text[start:stop] * 2))
    return text[:start] + part + text[stop if rng.random() < 0.7 else start :]
