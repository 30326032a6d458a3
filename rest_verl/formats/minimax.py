"""`minimax`, the format of MiniMax-M2 models: calls and parameters as tags, the answer as plain text.

<think>reasoning</think>
<minimax:tool_call>
<invoke name="get_weather">
<parameter name="city">Paris</parameter>
<parameter name="days">3</parameter>
</invoke>
<invoke name="get_time">
</invoke>
</minimax:tool_call>

The format does not mark the type of a value, and its template writes nothing around it: the tool's schema says how the
text is read (`parse.typed`), and a string is the text to the letter. Without a schema strict JSON is read as JSON, so
the text `5` as the number.
"""

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, parse_tagged
from rest_verl.formats.parse.xml_calls import Parameters, XmlCalls, bare_value

_CLOSING, _CALL_CLOSING = b"</minimax:tool_call>", b"</invoke>"
_CALLS = XmlCalls(
    opening=b'<invoke name="',
    name_end=b'">',
    closing=_CALL_CLOSING,
    block_closing=_CLOSING,
    parameters=Parameters(
        opening=b'<parameter name="',
        whole_opening=rb'<parameter name="(?P<key>[^<"\n]+)">',
        closing=b"</parameter>",
        ends=(_CALL_CLOSING, _CLOSING),
    ),
    value_of=bare_value,
)
_TAGS = Tags(calls=(b"<minimax:tool_call>", _CLOSING), scan_calls=_CALLS.scan, in_value=_CALLS.parameters.in_value)
_MARKUP = call_markup(
    b"<minimax:tool_call", b"</minimax:tool_call", b"<invoke name=", b"</invoke", b"<parameter name=", b"</parameter"
)
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_ORDER = re.compile(
    rb'((<think>)?</think>)?(<minimax:tool_call>(<invoke name=""></invoke>)+</minimax:tool_call>)*',
)


def parse_minimax(text: bytes) -> Turn:
    """Spans of one minimax turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_minimax(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; calls in each call block; an answer if one is due,
    without markup of calls."""
    return _CALLS.is_legal(_ORDER, text, turn, kind) and not _MARKUP.is_in_answer(text, turn)


MINIMAX = WireFormat(
    parse_minimax,
    is_legal_minimax,
    _CALLS.read,
    markup=_TAGS.markup + _CALLS.markup,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=_CALLS.read_open,
)
