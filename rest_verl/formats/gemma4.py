"""`gemma4`, the format of Gemma 4: one call in each `<|tool_call>` block, the answer as plain text.

<|channel>thought
reasoning<channel|>
<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3,units:{metric:true}}<tool_call|>

Strings are raw text from one `<|"|>` to the next, and begin where a key or a value begins. Gemma sometimes omits the
opening `<|"|>`; then the value is bare text, as verl reads it. A string is unclosed if it has no end, or if it would
run past the closing tag of its block into another block: it ends at that tag. A name may have spaces, on one line.

These models end a turn with `<turn|>`, which may differ from the tokenizer's end-of-sequence token.
"""

import json
import re

from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, Kind, ToolCall, ToolSchemas, Turn, WireFormat
from rest_verl.formats.parse.json_calls import strict_json
from rest_verl.formats.parse.tags import Tags, is_legal_outline, parse_tagged

_OPENING, _CLOSING, _QUOTE = b"<|tool_call>", b"<tool_call|>", b'<|"|>'
_CALL = b"call:"

# A name of several words is one only if its brace follows; its length is bounded, so that matching is linear.
_WORDS = rb"[^\s{}<](?:(?!call:)[^{}<\n]){0,200}(?=\{)"
_STEP = re.compile(rb"call:\s*(?P<name>" + _WORDS + rb"|[^\s{}<]*)\s*(?P<brace>\{)?|<tool_call\|>")
_STRUCTURE = re.compile(rb'[{\[:,]\s*(?P<quote><\|"\|>)?|[}\]]|<tool_call\|>')
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_OUTLINE = re.compile(rb"((<\|channel>thought)?<channel\|>)?(<\|tool_call>call:\{\}<tool_call\|>)*(<turn\|>)?")

# No alternative backtracks: each consumes what it starts to match, so matching is linear.
_TOKEN = re.compile(
    r'(?P<colon>(?::\s*)?)<\|"\|>(?P<string>.*?)<\|"\|>'
    r"|:(?P<value>[^{}\[\],]*)"
    r"|(?P<bare>[^\s{}\[\],:][^{}\[\],:]*)",
    re.DOTALL,
)
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")


def parse_gemma4(text: bytes) -> Turn:
    """Spans of one gemma4 turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_gemma4(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one complete call with a name in each call block; an answer if
    one is due."""
    return is_legal_outline(_OUTLINE, text, turn, kind) and all(call.name is not None for call in turn.calls)


def read_gemma4(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a call through JSON (`WireFormat.read`).

    A call can be read if its bytes are UTF-8, it has a name, and keys, values, commas and braces are in place. As in
    verl, a bare value is true, false or null in upper or lower case, a number, or else text.
    """
    if call.name is None or call.arguments is None:
        return None
    try:
        name = text[slice(*call.name)].decode("utf-8")
        notation = text[slice(*call.arguments)].decode("utf-8")
        arguments = strict_json(_TOKEN.sub(_as_json, notation).encode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments)


def _as_json(token: re.Match[str]) -> str:
    """JSON for a key, an item of a list, or a value with the colon before it."""
    if token["string"] is not None:
        return token["colon"] + json.dumps(token["string"])
    if token["value"] is not None:
        value = token["value"].strip()
        return ":" + _scalar(value) if value else ":"
    bare = token["bare"].strip()
    is_key = token.string.startswith(":", token.end())
    return json.dumps(bare) if is_key else _scalar(bare)


def _scalar(bare: str) -> str:
    """JSON for a bare value."""
    lowered = bare.lower()
    return lowered if _SCALAR.fullmatch(lowered) else json.dumps(bare)


def _scan_block(text: bytes, start: int, turn: Turn) -> int:
    """Scanner of a block (`Tags.scan_calls`)."""
    position = start
    while found := _STEP.search(text, position):
        position = found.end()
        if found.group() == _CLOSING:
            turn.markers.append(found.span())
            return position
        turn.markers.append((found.start(), found.start() + len(_CALL)))
        start, written = found.start("name"), found["name"].rstrip()
        name = (start, start + len(written)) if written else None
        if found["brace"]:
            position, complete = _end_of_arguments(text, found.start("brace"))
            arguments = (found.start("brace"), position)
            turn.calls.append(CallSpan(((name or arguments)[0], position), name, arguments, complete))
        elif name is not None:
            turn.calls.append(CallSpan(name, name, None, False))
    return len(text)


def _end_of_arguments(text: bytes, start: int) -> tuple[int, bool]:
    """End of the arguments whose opening brace is at `start`, and whether their own brace closes them."""
    depth, position = 0, start
    while found := _STRUCTURE.search(text, position):
        position = found.end()
        kind = found.group()[:1]
        if kind == b"<":
            return _end_of_text(text, start, found.start()), False
        if kind in b"{[":
            depth += 1
        elif kind in b"}]":
            depth -= 1
            if depth == 0:
                return position, True
        if found["quote"]:
            end = text.find(_QUOTE, position)
            until = end if end >= 0 else len(text)
            closing = text.find(_CLOSING, position, until)
            if closing >= 0 and (end < 0 or text.find(_OPENING, closing, until) >= 0):
                return _end_of_text(text, start, closing), False
            position = until + len(_QUOTE)
    return _end_of_text(text, start, len(text)), False


def _end_of_text(text: bytes, start: int, end: int) -> int:
    """End of the text from `start` to `end` without trailing white space."""
    return start + len(text[start:end].rstrip())


_TAGS = Tags(
    calls=(_OPENING, _CLOSING),
    scan_calls=_scan_block,
    think=(b"<|channel>thought", b"<channel|>"),
    stops=(b"<turn|>",),
    in_string=lambda text, start: text.count(_QUOTE, start) % 2 == 1,
)

GEMMA4 = WireFormat(parse_gemma4, is_legal_gemma4, read_gemma4, (*_TAGS.markup, _QUOTE))
