"""Read values from Java source as BFCL does: `50L`, `new int[]{1, 2}`, `new HashMap<>() {{ put("a", 1); }}`.

Source that does not look like a value of its type stays text. It may still be right, since BFCL accepts the name of a
variable if its answer holds one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rest_verl.bfcl.verdict.source import Undecidable, between, integer, number_or_text, skip_space

TYPES: Mapping[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "char": str,
    "String": str,
    "any": str,
    "Array": list,
    "ArrayList": list,
    "Queue": list,
    "Stack": list,
    "Set": set,
    "HashMap": dict,
    "Hashtable": dict,
}

_INTEGER = re.compile(r"-?\d+$")
_LONG = re.compile(r"(-?\d+)[lL]$")
_DOUBLE = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$")
_FLOAT = re.compile(r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[fF]$")
_BOOLEANS = {"true": True, "false": False}

_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\(")
_ADD_BLOCK = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{")
_ADD = re.compile(r"add\(")
_EMPTY_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{")
_HASH_MAP = re.compile(r"new\s+HashMap<")
_PUT_BLOCK = re.compile(r">\s*\(\)\s*\{\s*\{?\s*")
_EMPTY_MAP = re.compile(r">\s*\(\)")


def read_java(source: str, declared: str, element: str | None = None) -> Any:
    """Read the value of a parameter.

    Args:
        source: the model's source text.
        declared: the parameter's type, a key of TYPES.
        element: the type of an Array's or ArrayList's elements; None to infer it from each element.

    Raises:
        Undecidable: BFCL does not support the type (Set, Hashtable, Queue, Stack), or an integer is too long.
    """
    if declared in _COLLECTIONS:
        return _COLLECTIONS[declared](source, element)
    if declared in _SCALARS:
        return _SCALARS[declared](source)
    raise Undecidable(f"values of the type {declared} are not supported")


def _integer(source: str) -> int | str:
    return integer(source) if _INTEGER.match(source) else source


def _long(source: str) -> int | str:
    found = _LONG.match(source)
    return integer(found[1]) if found else source


def _double(source: str) -> float | str:
    return float(source) if _DOUBLE.match(source) else source


def _float(source: str) -> float | str:
    found = _FLOAT.match(source)
    return float(found[1]) if found else source


def _boolean(source: str) -> bool | str:
    return _BOOLEANS.get(source, source)


def _undeclared(source: str) -> Any:
    """Read a value of unknown type."""
    if source in _BOOLEANS:
        return _BOOLEANS[source]
    if source.startswith('"') and source.endswith('"'):
        return source[1:-1]
    for read in (_long, _float):
        value = read(source)
        if value is not source:
            return value
    return number_or_text(source)


def _element(source: str, declared: str | None) -> Any:
    return _undeclared(source) if declared is None else read_java(source, declared)


def _list_element(source: str, declared: str | None) -> Any:
    """Read an element of an ArrayList. Only there does text lose its quotes, or whatever its first and last characters
    are."""
    return source[1:-1] if declared in ("char", "String") else _element(source, declared)


def _array(source: str, element: str | None) -> Any:
    inside = next(between(source, _ARRAY, "}"), None)
    if inside is None:
        return source
    parts = (part.strip() for part in source[slice(*inside)].split(","))
    return [_element(part, element) for part in parts if part]


def _array_list(source: str, element: str | None) -> Any:
    if (inside := next(between(source, _AS_LIST, "))", least=1), None)) is not None:
        return [_list_element(part.strip(), element) for part in source[slice(*inside)].split(",")]
    if (block := _add_block(source)) is not None:
        return [_list_element(block[slice(*span)].strip(), element) for span in between(block, _ADD, ")", least=1)]
    return [] if _EMPTY_LIST.search(source) else source


def _add_block(source: str) -> str | None:
    """The contents of the double braces after the first `new ArrayList<>()` with some; None if they do not close.

    The contents are not empty, so a brace right after the opening ones does not close them.
    """
    found = _ADD_BLOCK.search(source)
    if found is None:
        return None
    start = skip_space(source, found.end())
    end = source.find("}}", start + 1)
    return source[start:end] if end >= 0 else None


def _hash_map(source: str, element: str | None) -> Any:
    found = _HASH_MAP.search(source)
    if found is None:
        return source
    block = _PUT_BLOCK.search(source, found.end())
    if block is not None and (end := source.find("}", block.end())) >= 0:
        return {key: _undeclared(value.strip()) for key, value in _puts(source[block.end() : end])}
    return {} if _EMPTY_MAP.search(source, found.end()) else source


def _puts(text: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each `put("key", value)`: a key ends at the first `",` that a value can follow.

    Key and value are each on one line, but white space between them may span lines. A value ends at its first bracket.
    """
    position, line_end = 0, -1
    while (found := text.find('put("', position)) >= 0:
        start = found + len('put("')
        line_end = _line_end(text, start, line_end)
        # If no value can follow the first `",` of the line, only a `",` at the end of the line remains: all others are
        # followed by the same rest of the line. If that fails too, so does every later `put` in the line.
        position = line_end
        for key_end in (text.find('",', start, line_end), text.rfind('",', start, line_end)):
            if key_end < 0:
                break
            value = skip_space(text, key_end + len('",'))
            value_end = text.find(")", value, _line_end(text, value, line_end))
            if value_end >= 0:
                yield text[start:key_end], text[value:value_end]
                position = value_end + 1
                break


def _line_end(text: str, position: int, known: int) -> int:
    """The end of a position's line; `known` is the end of the same or of an earlier line."""
    if position <= known:
        return known
    end = text.find("\n", position)
    return len(text) if end < 0 else end


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "byte": _integer,
    "short": _integer,
    "integer": _integer,
    "long": _long,
    "float": _float,
    "double": _double,
    "boolean": _boolean,
    "char": str,
    "String": str,
    "any": str,
}
_COLLECTIONS: Mapping[str, Callable[[str, str | None], Any]] = {
    "Array": _array,
    "ArrayList": _array_list,
    "HashMap": _hash_map,
}
