"""`hermes`, the format of Qwen and Hermes models: one call in each `<tool_call>` block, the answer as plain text.

<think>reasoning</think>
<tool_call>
{"name": "get_weather", "arguments": {"city": "Paris"}}
</tool_call>
"""

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.json_calls import ends_in_string, json_calls, read_json_call
from rest_verl.formats.parse.markup import JSON_CALL, call_markup
from rest_verl.formats.parse.open_json import read_open_object
from rest_verl.formats.parse.tags import Tags, is_legal_outline, parse_tagged

_TAGS = Tags(calls=(b"<tool_call>", b"</tool_call>"), scan_calls=json_calls(b"</tool_call>"), in_value=ends_in_string)
_MARKUP = call_markup(b"<tool_call", b"</tool_call", others=(JSON_CALL,))
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_OUTLINE = re.compile(rb"((<think>)?</think>)?(<tool_call>\{\}</tool_call>)*")


def parse_hermes(text: bytes) -> Turn:
    """Spans of one hermes turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_hermes(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one complete call in each call block; an answer if one is due,
    without markup of calls."""
    return is_legal_outline(_OUTLINE, text, turn, kind) and not _MARKUP.is_in_answer(text, turn)


HERMES = WireFormat(
    parse_hermes,
    is_legal_hermes,
    read_json_call,
    markup=_TAGS.markup,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_object(),
)
