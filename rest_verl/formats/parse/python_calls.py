"""Tool calls written as Python calls with keyword arguments: `get_weather(city="Paris", days=3)`.

Names of arguments are those of a JSON schema, so they may be what Python takes for no name (`from`, `user-id`,
`$filter`). Only the values are Python: its parser sees placeholders for the names.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from contextlib import suppress
from typing import Any

from rest_verl.core.tool_calls import (
    BROKEN,
    NO_TOOLS,
    UNDECIDED,
    CallSpan,
    OpenCall,
    Span,
    ToolCall,
    ToolSchemas,
    Turn,
)

# A name may hold dots. A trailing dot is left to Python's parser, since the text may be cut there.
NAME = rb"[A-Za-z_\x80-\xff][\w.\x80-\xff]*"

# Names that are no identifiers, as a fifth of ToolACE's: with spaces, slashes, hyphens, a leading digit, or a part in
# parentheses. White space before a parenthesis, or something other than a keyword after it, is how prose is written.
_WORDS = rb"[^\s\[\](),=\"'`{}<>][^\[\](),=\"'`{}<>\n\r]*"
_KEYWORD = rb"[^\s\[\](),=\"'{}]+"
LOOSE_NAME = (
    _WORDS + rb"(?:\([^\[\]()=\"'`{}<>\n\r]*\)(?:" + _WORDS + rb")?)*(?<!\s)"
    rb"(?=\(\s*(?:" + _KEYWORD + rb"\s*=(?!=)|\)\s*[\],]|(?:" + _KEYWORD + rb"|\))?\s*\Z))"
)

_TOKEN = re.compile(
    rb"(?P<quote>\"\"\"|'''|\"|')"
    rb"|[\[,]\s*(?:(?P<loose>" + LOOSE_NAME + rb")|(?P<item>" + NAME + rb"))?"
    rb"|(?P<name>(?<![\w.\x80-\xff])" + NAME + rb"(?=\())"
    rb"|[\]()]"
)

# Ends of a string: its own quote or, for one-line strings, the end of the line. Escaped characters are skipped.
_END_OF_STRING = {
    quote: re.compile(rb"\\(?:\r\n|.)|" + quote + (b"" if len(quote) == 3 else rb"|[\r\n]"), re.DOTALL)
    for quote in (b'"""', b"'''", b'"', b"'")
}

# What stands between an opening parenthesis or a comma and the name of an argument.
_BLANK = re.compile(rb"\s+|#[^\r\n]*")

# The name of an argument before its `=`. It ends with a letter, a digit or the like: `a<=1` and `a:=1` have none.
ARGUMENT = rb"[\w$@./\x80-\xff-](?:[\w$@.:/ \x80-\xff-]*[\w$?.\x80-\xff])?(?:\[\w*\])*(?=\s*=(?!=))"
_ARGUMENT = re.compile(b"(?P<name>" + ARGUMENT + rb")\s*=")
_STRUCTURE = re.compile(rb"(?P<quote>\"\"\"|'''|\"|')|[\[({\])},]|#[^\r\n]*")

# A chain of operators of about 400 kB overflows the stack of CPython 3.10 and ends the process.
_MAX_BYTES = 2**16

# What reading a call may raise: the errors of `ast.parse`, and those of a value that is none.
_UNREADABLE = (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError)
_ENDS_OF_VALUES = (b",", b'"', b"'", b"]", b"}", b")")

_JSON_NAMES = {"true": True, "false": False, "null": None}


def scan_python_calls(text: bytes, start: int, turn: Turn) -> int:
    """Take the calls of a list, the commas between them and its closing bracket.

    A call begins at a name that opens the list, follows a comma or precedes a parenthesis; a name that is no
    identifier opens the list or follows a comma, and keyword arguments follow it. It ends at its closing
    parenthesis or, incomplete, at the closing bracket of the list.

    Args:
        text: bytes of one turn.
        start: position of the list's opening bracket.
        turn: turn that receives the calls, the commas and the closing bracket.

    Returns:
        The position after the closing bracket, or the end of the text if it is missing.
    """
    name: Span | None = None  # of the open call
    position, parentheses, brackets = start, 0, 0
    while token := _TOKEN.search(text, position):
        position = token.end()
        kind = token.group()[:1]
        if token["quote"]:
            position = _end_of_string(text, position, token["quote"])
        elif kind == b"(":
            parentheses += 1
        elif kind == b")":
            parentheses -= 1
            if name is not None and parentheses == 0:
                turn.calls.append(_call(text, name, position, complete=True))
                name, brackets = None, 1
        elif kind == b"[":
            brackets += 1
        elif kind == b"," and name is None and brackets == 1:
            turn.markers.append((token.start(), token.start() + 1))
        elif kind == b"]":
            brackets -= 1
            if brackets == 0:
                if name is not None:
                    turn.calls.append(_call(text, name, token.start(), complete=False))
                turn.markers.append(token.span())
                return position
        if token.lastgroup in ("loose", "item", "name") and name is None and brackets == 1:
            found = token.span(token.lastgroup)
            if text.startswith(b"(", found[1]):
                name, parentheses = found, 0
            else:
                turn.calls.append(_call(text, found, found[1], complete=False))
    if name is not None:
        turn.calls.append(_call(text, name, len(text), complete=False))
    return len(text)


def _call(text: bytes, name: Span, end: int, complete: bool) -> CallSpan:
    """The call with this name that ends at `end`, without trailing white space."""
    end = name[1] + len(text[name[1] : end].rstrip())
    arguments = (name[1], end) if end > name[1] else None
    return CallSpan(whole=(name[0], end), name=name, arguments=arguments, complete=complete)


def _end_of_string(text: bytes, start: int, quote: bytes) -> int:
    """End of the string whose opening quote is before `start`: after its closing quote or, if that is missing, at the
    end of its line, or at the end of the text for triple quotes."""
    for found in _END_OF_STRING[quote].finditer(text, start):
        if found.group() == quote:
            return found.end()
        if found.group() in (b"\r", b"\n"):
            return found.start()
    return len(text)


def read_python_call(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a call (`WireFormat.read`): Python's own parser builds the syntax tree, and nothing is evaluated.

    A call can be read if it is UTF-8 and at most 64 KiB, and its arguments are given by name, none of them twice. A
    name is what comes before `=`, even if it is none in Python. The values are literals that JSON can hold: strings,
    numbers in the range of a double with or without a sign, True, False and None in the spelling of Python or JSON,
    lists, tuples (as lists), and dicts with string keys (the last of repeated keys counts).
    """
    start, end = call.whole
    if call.name is None or end - start > _MAX_BYTES:
        return None
    try:
        name = text[slice(*call.name)].decode("utf-8")
        # The name is not Python's business: it may be a keyword, or no identifier at all.
        arguments = _arguments(b"f" + text[call.name[1] : end])
    except _UNREADABLE:
        return None
    return ToolCall(name, arguments)


def read_open_python_call(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> OpenCall:
    """What is decided of an open call (`WireFormat.read_open`): an argument at its comma or, if its value is a string,
    list or dict, at that one's end."""
    if call.name is None or call.arguments is None:
        return OpenCall()
    if call.whole[1] - call.whole[0] > _MAX_BYTES:
        return BROKEN
    written = b"f" + text[slice(*call.arguments)]
    names = _argument_names(written)
    try:
        name = text[slice(*call.name)].decode("utf-8")
        if written[-1:] in _ENDS_OF_VALUES:
            with suppress(*_UNREADABLE):
                return OpenCall(name, _arguments(written + b")"))
        if not names:
            return OpenCall(name)
        decided = _arguments(written[: names[-1][0]] + b")")
        return OpenCall(name, decided | {written[slice(*names[-1])].decode("utf-8"): UNDECIDED})
    except _UNREADABLE:
        return BROKEN


def _arguments(call: bytes) -> dict[str, Any]:
    """Arguments of a call; the errors of `ast.parse`, and ValueError for anything but literals given by name."""
    spans = _argument_names(call)
    names = {f"_{number}": call[slice(*span)].decode("utf-8") for number, span in enumerate(spans)}
    begins, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(call)]
    between = [call[begin:end].decode("utf-8") for begin, end in zip(begins, ends, strict=True)]
    text = "".join(part + name for part, name in zip(between, [*names, ""], strict=True))
    with warnings.catch_warnings():
        # Python warns of unknown escapes in strings, but a model's text is not our code.
        warnings.simplefilter("ignore")
        tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Call) or tree.args or any(keyword.arg not in names for keyword in tree.keywords):
        raise ValueError("not a call with only named arguments")
    arguments = {names[str(keyword.arg)]: _literal(keyword.value) for keyword in tree.keywords}
    if len(arguments) < len(tree.keywords):
        raise ValueError("a repeated name")
    return arguments


def _argument_names(call: bytes) -> list[Span]:
    """Spans of the names of a call's arguments: what comes before `=` after its parenthesis or one of its commas."""
    names: list[Span] = []
    depth, position, name_may_follow = 0, 0, False
    while position < len(call):
        if name_may_follow:
            if blank := _BLANK.match(call, position):
                position = blank.end()
                continue
            name_may_follow = False
            if argument := _ARGUMENT.match(call, position):
                names.append(argument.span("name"))
                position = argument.end()
                continue
        token = _STRUCTURE.search(call, position)
        if token is None:
            break
        position = token.end()
        kind = token.group()[:1]
        if token["quote"]:
            position = _end_of_string(call, position, token["quote"])
        elif kind in b"[({":
            depth += 1
        elif kind in b"])}":
            depth -= 1
        name_may_follow = depth == 1 and kind in b"(,"
    return names


def _literal(node: ast.expr | None) -> Any:
    """Value of a literal; ValueError for any other expression. Python's parser limits the depth to 200 brackets."""
    match node:
        case ast.Constant(value=(str() | bool() | None) as value):
            return value
        case ast.Constant(value=(int() | float()) as number):
            return _within_range(number)
        case ast.Name(id=name) if name in _JSON_NAMES:
            return _JSON_NAMES[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=(int() | float()) as number)) if (
            not isinstance(number, bool)
        ):
            return _within_range(-number if isinstance(node.op, ast.USub) else number)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_literal(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _literal(value) for key, value in zip(keys, values, strict=True)}
    raise ValueError("not a literal")


def _within_range(number: float) -> float:
    """The number; ValueError or OverflowError if no double holds it, for then it is no JSON for most readers."""
    if math.isinf(float(number)):
        raise ValueError("beyond the range of a double")
    return number


def _key(node: ast.expr | None) -> str:
    """Key of a dict; ValueError unless it is a string."""
    match node:
        case ast.Constant(value=str() as key):
            return key
    raise ValueError("not a string")


def python_literal(text: str) -> Any:
    """Value of a Python literal that JSON can hold, as `read_python_call` reads arguments; ValueError for any other
    text, or for one of more than 64 KiB. Nothing is evaluated."""
    if len(text) > _MAX_BYTES:
        raise ValueError("a literal of more than 64 KiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = _literal(ast.parse(text.strip(), mode="eval").body)
        json.dumps(value, allow_nan=False)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a literal: {error}") from None
    return value
