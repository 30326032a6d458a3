"""`glm`, the format of GLM-4.5 and later models: one call in each `<tool_call>` block, the answer as plain text.

<think>reasoning</think>
<tool_call>get_weather
<arg_key>city</arg_key>
<arg_value>Paris</arg_value>
<arg_key>days</arg_key>
<arg_value>3</arg_value>
</tool_call><|observation|>

The name is the first line of the block, up to the first tag. White space on either side of a value is not part of it.
What a value is, is not written: strict JSON is read as JSON, other text as a string. A string that is JSON itself,
such as a `5` that is meant as text, comes back as what it says, and one that begins or ends with white space comes
back without, unless it is written as a JSON string.

These models end a turn with the token that opens the next one, which is no end-of-sequence token to the tokenizer and
so stands in the turn's text. At the very end of a turn it is a marker.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import CallSpan, Kind, ToolCall, Turn, WireFormat
from rest_verl.formats.parse.json_calls import trimmed
from rest_verl.formats.parse.tags import Tags, is_legal_outline, parse_tagged
from rest_verl.formats.parse.xml_calls import Parameter, Parameters, is_well_formed, read_call, stripped_value

_CLOSING = b"</tool_call>"
_PARAMETERS = Parameters(
    opening=b"<arg_key>",
    whole_opening=rb"<arg_key>(?P<key>[^<]+)</arg_key>\s*<arg_value>",
    closing=b"</arg_value>",
    ends=(_CLOSING,),
)


def _scan(text: bytes, start: int, turn: Turn) -> int:
    """Scanner of a block (`Tags.scan_calls`): whatever is in it is its call."""
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


_TAGS = Tags(calls=(b"<tool_call>", _CLOSING), scan_calls=_scan, stops=(b"<|observation|>", b"<|user|>"))
# A prompt may have opened the reasoning, so that the turn holds its closing tag alone.
_OUTLINE = re.compile(rb"((<think>)?</think>)?(<tool_call>\{\}</tool_call>)*(<\|(observation|user)\|>)?")


def parse_glm(text: bytes) -> Turn:
    """Spans of one glm turn; what stands outside of every block is the answer."""
    return parse_tagged(text, _TAGS)


def is_legal_glm(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one call in each call block; an answer where one is due."""
    return is_legal_outline(_OUTLINE, text, turn, kind) and all(
        is_well_formed(_split(text, call)) for call in turn.calls
    )


def read_glm(text: bytes, call: CallSpan) -> ToolCall | None:
    """Read a complete call: it must be well-formed, and its bytes UTF-8."""
    return read_call(text, call, _split(text, call), stripped_value)


def _split(text: bytes, call: CallSpan) -> list[Parameter] | None:
    """The parameters of a complete call; None where its name is missing or its body malformed."""
    return None if call.name is None else _PARAMETERS.split(text, call.name[1], call.whole[1])


GLM = WireFormat(parse_glm, is_legal_glm, read_glm)
