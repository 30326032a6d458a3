"""`rlla`, the format of ToolRL and of ResT's own run: one call per line in a single `<tool_call>` block.

<think> reasoning </think>
<tool_call>
{"name": "get_weather", "parameters": {"city": "Paris"}}
{"name": "get_time", "parameters": {}}
</tool_call>
<response> final answer </response>

The format's own rule of what is legal goes by the parse: tags inside of reasoning, arguments or an answer are text.
ToolRL's rule looks at the text alone (`reward.toolrl`).
"""

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.json_calls import ends_in_string, json_calls, read_json_call
from rest_verl.formats.parse.markup import JSON_CALL, call_markup
from rest_verl.formats.parse.open_json import read_open_object
from rest_verl.formats.parse.tags import Tags, parse_tagged

_TAGS = Tags(
    calls=(b"<tool_call>", b"</tool_call>"),
    scan_calls=json_calls(b"</tool_call>", b"parameters"),
    answer=(b"<response>", b"</response>"),
    in_value=ends_in_string,
)

_MARKUP = call_markup(b"<tool_call", b"</tool_call", others=(JSON_CALL,))
# A turn with each call, and the inside of each other block, replaced by `{}` and nothing.
_THINK = b"<think></think>"
_CALLS = rb"\n<tool_call>\n\s*\{\}(\s*\{\})*\s*?\n</tool_call>"
_ANSWER = b"\n<response></response>"
_OUTLINES = {
    Kind(calls, answer): re.compile(_THINK + _CALLS * calls + _ANSWER * answer)
    for calls in (True, False)
    for answer in (True, False)
}


def parse_rlla(text: bytes) -> Turn:
    """Spans of one rlla turn; text outside of every block belongs to no region."""
    return parse_tagged(text, _TAGS)


def is_legal_rlla(text: bytes, turn: Turn, kind: Kind) -> bool:
    """Reasoning, then exactly the blocks of the kind, each on lines of its own, with only white space around the whole
    and around calls. What is inside of reasoning, a call or an answer is text, tags too, but no answer holds markup of
    calls. Whether a call can be read does not matter here."""
    outline = _OUTLINES[kind].fullmatch(_outline(text, turn)) is not None
    return outline and not _MARKUP.is_in_answer(text, turn)


def _outline(text: bytes, turn: Turn) -> bytes:
    """The turn with `{}` for each call and without the inside of the other blocks."""
    pieces = [(start, end, text[start:end]) for start, end in turn.markers]
    pieces += [(start, end, b"") for start, end in (*turn.think, *turn.response)]
    for call in turn.calls:
        start, end = call.whole  # one that breaks off before the closing tag takes the line break before it along
        pieces.append((start, start + len(text[start:end].rstrip()), b"{}"))
    outline, position = [], 0
    for start, end, piece in sorted(pieces):
        outline += [text[position:start], piece]
        position = end
    whole = b"".join([*outline, text[position:]])
    return whole.decode("utf-8", "surrogateescape").strip().encode("utf-8", "surrogateescape")


RLLA = WireFormat(
    parse_rlla,
    is_legal_rlla,
    read_json_call,
    markup=_TAGS.markup,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_object(b"parameters"),
)
