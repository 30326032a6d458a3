"""`llama3_json`, the format of Llama 3.1, 3.2 and 3.3: a turn is either calls, as bare JSON objects, or an answer.

<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "get_time", "parameters": {}}

The leading tag is optional, and the calls may be one JSON list. Arguments go by `parameters`, the key that the chat
template writes (vLLM reads `arguments` as well). Reasoning has no tags. A turn that begins with anything but the tag,
a brace or a bracket is an answer as a whole, illegal if it holds a call. In all other turns, an object with a member
"name" is a call, and so is an unclosed object, whose name may still follow. A closed object without a name is answer
text, like everything that is neither call nor separator, so an answer may be JSON. An end-of-turn tag is a marker at
the very end only.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.json_calls import ObjectScanner, call_of, read_json_call
from rest_verl.formats.parse.markup import JSON_CALL, call_markup
from rest_verl.formats.parse.open_json import read_open_object
from rest_verl.formats.parse.tags import is_legal_outline, take_answer

_OBJECTS = ObjectScanner()
_TAG, _BRACKET, _BRACE = re.compile(rb"\s*(<\|python_tag\|>)"), re.compile(rb"\s*(\[)"), re.compile(rb"\s*\{")
_SEPARATOR = re.compile(rb"\s*([;,\]])")
_ENDS = (b"<|eom_id|>", b"<|eot_id|>")
_STRAY = re.compile(rb"<\|(?:eom_id|eot_id)\|>")
_MARKUP = call_markup(b"<|python_tag|", others=(JSON_CALL,))
_CALLS = re.compile(rb"(<\|python_tag\|>)?(\{\}(;?\{\})*|\[\{\}(,\{\})*\])(<\|eom_id\|>|<\|eot_id\|>)?")
_ANSWER = re.compile(rb"[\[\];,]*(<\|eom_id\|>|<\|eot_id\|>)?")


def parse_llama3_json(text: bytes) -> Turn:
    """Spans of one llama3_json turn."""
    turn = Turn()
    body = _without_end(text)
    position = 0
    for opening in (_TAG, _BRACKET):
        if found := opening.match(body, position):
            turn.markers.append(found.span(1))
            position = found.end()
    if turn.markers or _BRACE.match(body):
        _take_calls(body, position, turn)
    else:
        take_answer(body, 0, len(body), turn)
    if len(body) < len(text):
        turn.markers.append((len(body), len(text.rstrip())))
    return turn


def is_legal_llama3_json(text: bytes, turn: Turn, kind: Kind) -> bool:
    """Complete calls and nothing else, or an answer without tags and markup of calls and nothing else."""
    if turn.calls:
        return not turn.response and is_legal_outline(_CALLS, text, turn, kind)
    return (
        is_legal_outline(_ANSWER, text, turn, kind)
        and not any(_STRAY.search(text, *span) for span in turn.response)
        and not _MARKUP.is_in_answer(text, turn)
    )


def _without_end(text: bytes) -> bytes:
    """The turn without its end-of-turn tag, if that is part of the text."""
    body = text.rstrip()
    for end in _ENDS:
        if body.endswith(end):
            return body[: -len(end)]
    return text


def _take_calls(body: bytes, start: int, turn: Turn) -> None:
    """Take the calls from body[start] on, their separators, and the text around them."""
    position = start
    while (brace := body.find(b"{", position)) >= 0:
        _take_between(body, position, brace, turn)
        found = _OBJECTS.scan(body, brace)
        if found.complete and found.last(b"name") is None:
            turn.response.append((found.start, found.end))
        else:
            turn.calls.append(call_of(body, found, b"parameters"))
        position = found.end
    _take_between(body, position, len(body), turn)


def _take_between(body: bytes, start: int, end: int, turn: Turn) -> None:
    """Take the separators after an object, then the text after them."""
    while separator := _SEPARATOR.match(body, start, end):
        turn.markers.append(separator.span(1))
        start = separator.end()
    take_answer(body, start, end, turn)


LLAMA3_JSON = WireFormat(
    parse_llama3_json,
    is_legal_llama3_json,
    read_json_call,
    markup=(b"<|python_tag|>",),
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_object(b"parameters"),
)
