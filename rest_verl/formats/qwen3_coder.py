"""`qwen3_coder`, the format of Qwen3-Coder and Qwen3.5 models: calls and parameters as tags, the answer as plain text.

<think>reasoning</think>
<tool_call>
<function=get_weather>
<parameter=city>
Paris
</parameter>
<parameter=days>
3
</parameter>
</function>
</tool_call>

One newline on each side of a value is the template's and not part of it. The format does not mark the type of a value:
the tool's schema says how the text is read (`parse.typed`), and a string is the text to the letter. Without a schema
strict JSON is read as JSON, so the text `5` as the number. As in verl, several calls may share one block, and a value
that ends with its call instead of its own tag can be read.
"""

import re
from typing import Any

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, parse_tagged
from rest_verl.formats.parse.typed import value_of_text
from rest_verl.formats.parse.xml_calls import Parameter, function_calls

_CLOSING = b"</tool_call>"


def _value_of(parameter: Parameter, schema: Any) -> Any:
    return value_of_text(parameter.value.decode("utf-8").removeprefix("\n").removesuffix("\n"), schema)


_CALLS = function_calls(_CLOSING, _value_of)
_TAGS = Tags(calls=(b"<tool_call>", _CLOSING), scan_calls=_CALLS.scan, in_value=_CALLS.parameters.in_value)
_MARKUP = call_markup(b"<tool_call", b"</tool_call", b"<function=", b"</function", b"<parameter=", b"</parameter")
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_ORDER = re.compile(rb"((<think>)?</think>)?(<tool_call>(<function=></function>)+</tool_call>)*")


def parse_qwen3_coder(text: bytes) -> Turn:
    """Spans of one qwen3_coder turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_qwen3_coder(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; calls in each call block; an answer if one is due,
    without markup of calls."""
    return _CALLS.is_legal(_ORDER, text, turn, kind) and not _MARKUP.is_in_answer(text, turn)


QWEN3_CODER = WireFormat(
    parse_qwen3_coder,
    is_legal_qwen3_coder,
    _CALLS.read,
    markup=_TAGS.markup + _CALLS.markup,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=_CALLS.read_open,
)
