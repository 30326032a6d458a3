"""`seed`, the format of Seed-OSS models: calls and parameters as tags, the answer as plain text.

<seed:think>reasoning</seed:think>
<seed:tool_call>
<function=get_weather>
<parameter=city>Paris</parameter>
<parameter=days>3</parameter>
</function>
</seed:tool_call>

The format does not mark the type of a value, and its template writes nothing around it: the tool's schema says how the
text is read (`parse.typed`), and a string is the text to the letter. Without a schema strict JSON is read as JSON, so
the text `5` as the number.
A block holds one call: verl does not run a second one.
"""

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, parse_tagged
from rest_verl.formats.parse.xml_calls import bare_value, function_calls

_CLOSING = b"</seed:tool_call>"
_CALLS = function_calls(_CLOSING, bare_value)
_TAGS = Tags(
    calls=(b"<seed:tool_call>", _CLOSING),
    scan_calls=_CALLS.scan,
    think=(b"<seed:think>", b"</seed:think>"),
    in_value=_CALLS.parameters.in_value,
)
_MARKUP = call_markup(
    b"<seed:tool_call", b"</seed:tool_call", b"<function=", b"</function", b"<parameter=", b"</parameter"
)
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_ORDER = re.compile(
    rb"((<seed:think>)?</seed:think>)?(<seed:tool_call><function=></function></seed:tool_call>)*",
)


def parse_seed(text: bytes) -> Turn:
    """Spans of one seed turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_seed(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one call in each call block; an answer if one is due,
    without markup of calls."""
    return _CALLS.is_legal(_ORDER, text, turn, kind) and not _MARKUP.is_in_answer(text, turn)


SEED = WireFormat(
    parse_seed,
    is_legal_seed,
    _CALLS.read,
    markup=_TAGS.markup + _CALLS.markup,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=_CALLS.read_open,
)
