"""`gemma4`, the format of Gemma 4: one call in each `<|tool_call>` block, the answer as plain text.

<|channel>thought
reasoning<channel|>
<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3,units:{metric:true}}<tool_call|>

Strings are raw text from one `<|"|>` to the next, and begin where a key or a value begins. Gemma sometimes writes JSON
or Python instead: a key or a value in their quotes is decoded, on one line as in these languages. Where it omits the
opening `<|"|>` the value is bare text, as verl reads it; a quote at either end of bare text is not part of any value,
so such a call cannot be read (verl would pass the quotes on).
A string is unclosed if it has no end, or if it would run past the closing tag of its block into another block: it ends
at that tag.
A name may have spaces, on one line.

These models end a turn with `<turn|>`, which may differ from the tokenizer's end-of-sequence token.
"""

import json
import re

from rest_verl.core.tool_calls import (
    BROKEN,
    NO_TOOLS,
    UNDECIDED,
    CallSpan,
    Kind,
    OpenCall,
    ToolCall,
    ToolSchemas,
    Turn,
    WireFormat,
)
from rest_verl.formats.parse.json_calls import strict_json
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, is_legal_outline, parse_tagged

_OPENING, _CLOSING, _QUOTE = b"<|tool_call>", b"<tool_call|>", b'<|"|>'
_CALL = b"call:"

# A name of several words is one only if its brace follows; its length is bounded, so that matching is linear.
_WORDS = rb"[^\s{}<](?:(?!call:)[^{}<\n]){0,200}(?=\{)"
_STEP = re.compile(rb"call:\s*(?P<name>" + _WORDS + rb"|[^\s{}<]*)\s*(?P<brace>\{)?|<tool_call\|>")
_STRUCTURE = re.compile(rb'[{\[:,]\s*(?P<quote><\|"\|>|["\'])?|[}\]]|<tool_call\|>')
# The rest of a string of JSON or Python after its quote: to its closing quote or, unclosed, to the end of its line.
_STRING_REST = {
    quote: re.compile(rb"(?:[^%b\\\n]|\\[^\n])*(?:(?P<closing>%b)|\\?)" % (quote, quote)) for quote in (b'"', b"'")
}
_MARKUP = call_markup(b"<|tool_call", b"<tool_call|", others=(rb"call:\s*[\w.-]+\s*\{",))
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_OUTLINE = re.compile(rb"((<\|channel>thought)?<channel\|>)?(<\|tool_call>call:\{\}<tool_call\|>)*(<turn\|>)?")

# No alternative backtracks: each consumes what it starts to match, so matching is linear.
_TOKEN = re.compile(
    r'(?P<colon>(?::\s*)?)(?:<\|"\|>(?P<string>.*?)<\|"\|>'
    r"""|(?P<quoted>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'))"""
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
    one is due, without markup of calls."""
    return (
        is_legal_outline(_OUTLINE, text, turn, kind)
        and all(call.name is not None for call in turn.calls)
        and not _MARKUP.is_in_answer(text, turn)
    )


def read_gemma4(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a call through JSON (`WireFormat.read`).

    A call can be read if its bytes are UTF-8, it has a name, and keys, values, quotes, commas and braces are in place.
    As in verl, a bare value is true, false or null in upper or lower case, a number, or else text.
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


def read_open_gemma4(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> OpenCall:
    """What is decided of an open call (`WireFormat.read_open`): an argument at its comma or, if its value has quotes,
    braces or brackets of its own, at their end."""
    if call.name is None or call.arguments is None:
        return OpenCall()

    def read(arguments: bytes) -> ToolCall | None:
        name = text[slice(*call.name)] if call.name else b""
        spans = (0, len(name)), (len(name), len(name) + len(arguments))
        return read_gemma4(name + arguments, CallSpan((0, spans[1][1]), *spans, True), tools)

    written = text[slice(*call.arguments)]
    begin, colon = _open_member(written)
    if written.endswith((_QUOTE, b'"', b"'", b"]", b"}")) and (whole := read(written + b"}")):
        return OpenCall(whole.name, whole.arguments)
    decided = read(written[:begin].rstrip(b", \t\r\n") + b"}") if begin > 1 else read(b"{}")
    key = None if colon is None else read(b"{" + written[begin:colon] + b"null}")
    if decided is None or (colon is not None and key is None):
        return BROKEN
    open_keys = {} if key is None else dict.fromkeys(key.arguments, UNDECIDED)
    return OpenCall(decided.name, decided.arguments | open_keys)


def _open_member(arguments: bytes) -> tuple[int, int | None]:
    """Where the last member of open arguments begins, and the position after its colon; None without one."""
    depth, position, begin, colon = 0, 0, 0, None
    while found := _STRUCTURE.search(arguments, position):
        position = found.end()
        kind = found.group()[:1]
        if kind in b"{[":
            depth += 1
        elif kind in b"}]":
            depth -= 1
        if depth == 1 and kind in b"{,":
            begin, colon = found.start() + 1, None
        elif depth == 1 and kind == b":" and colon is None:
            colon = found.start() + 1
        if found["quote"]:
            end, until = _end_of_string(arguments, position, found["quote"])
            position = until if end is None else end
    return begin, colon


def _as_json(token: re.Match[str]) -> str:
    """JSON for a key, an item of a list, or a value with the colon before it; ValueError for quotes out of place."""
    if token["string"] is not None:
        return token["colon"] + json.dumps(token["string"])
    if token["quoted"] is not None:
        return token["colon"] + _quoted_as_json(token["quoted"])
    if token["value"] is not None:
        value = token["value"].strip()
        return ":" + _scalar(value) if value else ":"
    bare = token["bare"].strip()
    is_key = token.string.startswith(":", token.end())
    return _text(bare) if is_key else _scalar(bare)


def _quoted_as_json(quoted: str) -> str:
    """JSON for a string in the quotes of JSON or Python; if it has escapes that JSON does not know, it is no JSON."""
    if quoted.startswith('"'):
        return quoted
    others = {"\\'": "'", '"': '\\"'}
    return '"' + re.sub(r'\\.|"', lambda found: others.get(found.group(), found.group()), quoted[1:-1]) + '"'


def _scalar(bare: str) -> str:
    """JSON for a bare value."""
    lowered = bare.lower()
    return lowered if _SCALAR.fullmatch(lowered) else _text(bare)


def _text(bare: str) -> str:
    """JSON for bare text; ValueError if quotes stand around it, or at one end of it."""
    if bare[0] in "\"'" or bare[-1] in "\"'" or '<|"|>' in bare:
        raise ValueError(f"quotes out of place: {bare:.40}")
    return json.dumps(bare)


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
            position, complete, _ = _end_of_arguments(text, found.start("brace"))
            arguments = (found.start("brace"), position)
            turn.calls.append(CallSpan(((name or arguments)[0], position), name, arguments, complete))
        elif name is not None:
            turn.calls.append(CallSpan(name, name, None, False))
    return len(text)


def _end_of_arguments(text: bytes, start: int) -> tuple[int, bool, bool]:
    """End of the arguments whose opening brace is at `start`; whether their own brace closes them; whether the text
    ends inside of a string."""
    depth, position, in_string = 0, start, False
    while found := _STRUCTURE.search(text, position):
        position = found.end()
        kind = found.group()[:1]
        if kind == b"<":
            return _end_of_text(text, start, found.start()), False, False
        if kind in b"{[":
            depth += 1
        elif kind in b"}]":
            depth -= 1
            if depth == 0:
                return position, True, False
        if found["quote"]:
            end, until = _end_of_string(text, position, found["quote"])
            closing = text.find(_CLOSING, position, until)
            if closing >= 0 and (end is None or text.find(_OPENING, closing, until) >= 0):
                return _end_of_text(text, start, closing), False, False
            in_string = end is None and until == len(text)
            # The text after a quote that is never closed on its line is bare: it may hold braces.
            position = until if in_string else position if end is None else end
    return _end_of_text(text, start, len(text)), False, in_string


def _end_of_string(text: bytes, start: int, quote: bytes) -> tuple[int | None, int]:
    """Where a string ends whose opening quote is before `start`, None if it is not closed; and the end of its text."""
    if quote == _QUOTE:
        until = text.find(quote, start)
        return (None, len(text)) if until < 0 else (until + len(quote), until)
    rest = next(_STRING_REST[quote].finditer(text, start))  # there is one: it matches at any position
    return (rest.end(), rest.start("closing")) if rest["closing"] else (None, rest.end())


def _in_value(text: bytes, start: int) -> bool:
    """Whether a string is open at the end of the text of a call that begins at `start` (`Tags.in_value`)."""
    brace = text.find(b"{", start)
    return brace >= 0 and _end_of_arguments(text, brace)[2]


def _end_of_text(text: bytes, start: int, end: int) -> int:
    """End of the text from `start` to `end` without trailing white space."""
    return start + len(text[start:end].rstrip())


_TAGS = Tags(
    calls=(_OPENING, _CLOSING),
    scan_calls=_scan_block,
    think=(b"<|channel>thought", b"<channel|>"),
    stops=(b"<turn|>",),
    in_value=_in_value,
)

GEMMA4 = WireFormat(
    parse_gemma4,
    is_legal_gemma4,
    read_gemma4,
    markup=(*_TAGS.markup, _QUOTE),
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_gemma4,
)
