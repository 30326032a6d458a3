"""`deepseek_v4`, the format of DeepSeek-V4 models: calls and parameters as tags, the answer as plain text.

<think>reasoning</think>
<｜DSML｜tool_calls>
<｜DSML｜invoke name="get_weather">
<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>
<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>
</｜DSML｜invoke>
</｜DSML｜tool_calls>

A value with `string="true"` is its text, including white space; one with `string="false"` is strict JSON. If it is
not, the call cannot be read (verl would pass the text to a tool that expects another type). The format has types, so
the tool's schema decides nothing.
"""

import re
from typing import Any

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.json_calls import strict_json
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, parse_tagged
from rest_verl.formats.parse.xml_calls import Parameter, Parameters, XmlCalls, closed_text

_CLOSING, _CALL_CLOSING = "</｜DSML｜tool_calls>".encode(), "</｜DSML｜invoke>".encode()


def _value_of(parameter: Parameter, schema: Any) -> Any:
    text = closed_text(parameter)
    return text if parameter.tag["string"] == b"true" else strict_json(parameter.value)


_CALLS = XmlCalls(
    opening='<｜DSML｜invoke name="'.encode(),
    name_end=b'">',
    closing=_CALL_CLOSING,
    block_closing=_CLOSING,
    parameters=Parameters(
        opening='<｜DSML｜parameter name="'.encode(),
        whole_opening=r'<｜DSML｜parameter name="(?P<key>[^<"\n]+)" string="(?P<string>true|false)">'.encode(),
        closing="</｜DSML｜parameter>".encode(),
        ends=(_CALL_CLOSING, _CLOSING),
    ),
    value_of=_value_of,
)
_TAGS = Tags(
    calls=("<｜DSML｜tool_calls>".encode(), _CLOSING), scan_calls=_CALLS.scan, in_value=_CALLS.parameters.in_value
)
_MARKUP = call_markup("<｜DSML｜".encode(), "</｜DSML｜".encode())
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_ORDER = re.compile(
    "((<think>)?</think>)?"
    '(<｜DSML｜tool_calls>(<｜DSML｜invoke name=""></｜DSML｜invoke>)+</｜DSML｜tool_calls>)*'.encode(),
)


def parse_deepseek_v4(text: bytes) -> Turn:
    """Spans of one deepseek_v4 turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_deepseek_v4(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; calls in each call block; an answer if one is due,
    without markup of calls."""
    return _CALLS.is_legal(_ORDER, text, turn, kind) and not _MARKUP.is_in_answer(text, turn)


DEEPSEEK_V4 = WireFormat(
    parse_deepseek_v4,
    is_legal_deepseek_v4,
    _CALLS.read,
    markup=_TAGS.markup + _CALLS.markup,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=_CALLS.read_open,
)
