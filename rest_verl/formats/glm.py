"""`glm`, the format of GLM-4.5 and later models: one call in each `<tool_call>` block, the answer as plain text.

<think>reasoning</think>
<tool_call>get_weather
<arg_key>city</arg_key>
<arg_value>Paris</arg_value>
<arg_key>days</arg_key>
<arg_value>3</arg_value>
</tool_call><|observation|>

The name is the first line of the block, up to the first tag. The format does not mark the type of a value, and its
template writes nothing around it: the tool's schema says how the text is read (`parse.typed`), and a string is the
text to the letter. Without a schema strict JSON is read as JSON, so the text `5` as the number.

These models end a turn with the token that opens the next one. It is not the tokenizer's end-of-sequence token, so it
is part of the turn's text; at the very end of a turn it is a marker.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, Kind, OpenCall, ToolCall, ToolSchemas, Turn, WireFormat
from rest_verl.formats.parse.json_calls import trimmed
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.tags import Tags, is_legal_outline, parse_tagged
from rest_verl.formats.parse.xml_calls import (
    Parameter,
    Parameters,
    bare_value,
    is_well_formed,
    read_call,
    read_open_call,
)

_CLOSING = b"</tool_call>"
_PARAMETERS = Parameters(
    opening=b"<arg_key>",
    whole_opening=rb"<arg_key>(?P<key>[^<]+)</arg_key>\s*<arg_value>",
    closing=b"</arg_value>",
    ends=(_CLOSING,),
)


def _scan(text: bytes, start: int, turn: Turn) -> int:
    """Scanner of a block (`Tags.scan_calls`), whose whole content is one call."""
    arguments, stop = _PARAMETERS.scan(text, start)
    end = len(text) if stop is None else stop.start()
    whole = trimmed(text, start, end)
    if whole is not None:
        line = re.split(rb"[<\n]", text[slice(*whole)], maxsplit=1)[0]
        name = trimmed(text, whole[0], whole[0] + len(line))
        turn.calls.append(CallSpan(whole, name, arguments, complete=stop is not None))
    if stop is None:
        return end
    turn.markers.append(stop.span())
    return stop.end()


_TAGS = Tags(
    calls=(b"<tool_call>", _CLOSING),
    scan_calls=_scan,
    stops=(b"<|observation|>", b"<|user|>"),
    in_value=_PARAMETERS.in_value,
)
_MARKUP = call_markup(b"<tool_call", b"</tool_call", b"<arg_key", b"</arg_key", b"<arg_value", b"</arg_value")
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_OUTLINE = re.compile(rb"((<think>)?</think>)?(<tool_call>\{\}</tool_call>)*(<\|(observation|user)\|>)?")


def parse_glm(text: bytes) -> Turn:
    """Spans of one glm turn; text outside of all blocks is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_glm(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one call in each call block; an answer if one is due,
    without markup of calls."""
    return (
        is_legal_outline(_OUTLINE, text, turn, kind)
        and all(is_well_formed(_split(text, call)) for call in turn.calls)
        and not _MARKUP.is_in_answer(text, turn)
    )


def read_glm(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a complete call (`WireFormat.read`), which must be well-formed and UTF-8."""
    return read_call(text, call, _split(text, call), bare_value, tools)


def read_open_glm(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> OpenCall:
    """What is decided of an open call (`WireFormat.read_open`): its name once its line has ended."""
    if call.name is None or not text[call.name[1] :].lstrip(b" \t\r"):
        return OpenCall()
    return read_open_call(text, call, call.name[1], _PARAMETERS, bare_value, tools)


def _split(text: bytes, call: CallSpan) -> list[Parameter] | None:
    """The parameters of a complete call; None if its name is missing or its body malformed."""
    return None if call.name is None else _PARAMETERS.split(text, call.name[1], call.whole[1])


GLM = WireFormat(
    parse_glm,
    is_legal_glm,
    read_glm,
    markup=(*_TAGS.markup, b"<arg_key></arg_key>", b"<arg_value></arg_value>"),
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_glm,
)
