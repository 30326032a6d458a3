"""Read values from JavaScript source as BFCL does: `"text"`, `12n`, `[1, [2, 3]]`, `{key: "value"}`.

Source that does not look like a value of its type stays text. It may still be right, since BFCL accepts the name of a
variable if its answer holds one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rest_verl.bfcl.verdict.source import Undecidable, between, integer, number_or_text, skip_space

TYPES: Mapping[str, type] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}

_INTEGER = re.compile(r"-?\d+$")
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?$")
_BIGINT = re.compile(r"-?\d+n$")
_BOOLEANS = {"true": True, "false": False}
_QUOTES = "'\""

_ROWS = re.compile(r"\[\s*\[|new\s+Array\(\s*\[")
_NEXT_ROW = re.compile(r",\s*\[")
_ROW = re.compile(r"\[")
_ARRAY = re.compile(r"\[|new\s+Array\(")
_CLOSING = {"[": "]", "n": ")"}  # by the first character of `[` and of `new Array(`


def read_javascript(source: str, declared: str, element: str | None = None) -> Any:
    """Read the value of a parameter.

    Args:
        source: the model's source text.
        declared: the parameter's type, a key of TYPES.
        element: the type of an array's elements; None to infer it from each element.

    Raises:
        Undecidable: an integer is too long, or a line break follows the suffix `n`.
    """
    return _array(source, element) if declared == "array" else _READERS[declared](source)


def _is_quoted(source: str) -> bool:
    return any(source.startswith(quote) and source.endswith(quote) for quote in _QUOTES)


def _string(source: str) -> str:
    return source[1:-1] if _is_quoted(source) else source


def _integer(source: str) -> int | str:
    return integer(source) if _INTEGER.match(source) else source


def _float(source: str) -> float | str:
    return float(source) if _FLOAT.match(source) else source


def _bigint(source: str) -> int | str:
    return integer(source[:-1]) if _BIGINT.match(source) else source


def _boolean(source: str) -> bool | str:
    return _BOOLEANS.get(source, source)


def _undeclared(source: str) -> Any:
    """Read a value of unknown type."""
    source = source.strip()
    if source in _BOOLEANS:
        return _BOOLEANS[source]
    return source[1:-1] if _is_quoted(source) else number_or_text(source)


def _array(source: str, element: str | None = None) -> Any:
    source = source.strip()
    if (end := _end_of_rows(source)) is not None:
        return list(_rows(source[:end]))
    opening = _ARRAY.match(source)
    if opening is None:
        return source
    end = source.find(_CLOSING[source[0]], opening.end())
    inside = source[opening.end() : end]
    if end < 0 or "\n" in inside:
        return source
    parts = [part.strip() for part in inside.split(",")] if inside.strip() else []
    try:
        return [_undeclared(part) if element is None else read_javascript(part, element) for part in parts]
    except Undecidable:
        return source


def _end_of_rows(source: str) -> int | None:
    """The end of an array of arrays at the beginning of the source; None if there is none.

    A row ends at the first bracket that is followed by the end of the array or by another row. A row is on one line.
    """
    found = _ROWS.match(source)
    if found is None:
        return None
    position = found.end()
    while (row_end := source.find("]", position)) >= 0 and "\n" not in source[position:row_end]:
        after = skip_space(source, row_end + 1)
        if source.startswith(_CLOSING[source[0]], after):
            return after + 1
        following = _NEXT_ROW.match(source, after)
        position = following.end() if following else row_end + 1
    return None


def _rows(source: str) -> Iterator[list[Any]]:
    for number, (start, end) in enumerate(between(source, _ROW, "]")):
        row = source[start:end].strip()
        if number == 0:
            row = row.removeprefix("[")
        yield [_undeclared(part) for part in row.split(",")]


def _object(source: str) -> Any:
    source = source.strip()
    end = source.find("}")
    if not source.startswith("{") or end < 0 or "\n" in source[:end]:
        return source
    return {key: _member(value) for key, value in _pairs(source[1:end])}


def _member(source: str) -> Any:
    """Read a value of an object. Quotes around it are removed first, so `"50"` is a number."""
    if source.startswith("[") and source.endswith("]"):
        return _array(source)
    return _undeclared(source.strip(_QUOTES))


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each `key: value`: a value ends at the first comma that a key follows.

    A key is at least one character and a colon, with no comma before it.
    """
    position = 0
    while True:
        while line.startswith(":", position):
            position += 1
        colon = line.find(":", position)
        if colon < 0:
            return
        key = line[position:colon]
        start = skip_space(line, colon + 1)
        end, position = _end_of_value(line, start)
        yield key.strip().strip(_QUOTES), line[start:end].strip()


def _end_of_value(line: str, start: int) -> tuple[int, int]:
    """The end of a value, and the beginning of the key after it."""
    comma = line.find(",", start)
    while comma >= 0:
        key = skip_space(line, comma + 1)
        following = line.find(",", comma + 1)
        if line.find(":", key + 1, following if following >= 0 else len(line)) >= 0:
            return comma, key
        if key > comma + 1 and line.startswith(":", key):
            return comma, key - 1  # the key is the last white space before its colon
        comma = following
    return len(line), len(line)


_READERS: Mapping[str, Callable[[str], Any]] = {
    "String": _string,
    "integer": _integer,
    "float": _float,
    "Bigint": _bigint,
    "Boolean": _boolean,
    "dict": _object,
    "array": _array,
    "any": str,
}
