"""`rlla`, the format of ToolRL and of ResT's own run: one call per line in a single `<tool_call>` block.

<think> reasoning </think>
<tool_call>
{"name": "get_weather", "parameters": {"city": "Paris"}}
{"name": "get_time", "parameters": {}}
</tool_call>
<response> final answer </response>
"""

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.json_calls import ends_in_string, json_calls, read_json_call
from rest_verl.formats.parse.tags import Tags, parse_tagged

_TAGS = Tags(
    calls=(b"<tool_call>", b"</tool_call>"),
    scan_calls=json_calls(b"</tool_call>", b"parameters"),
    answer=(b"<response>", b"</response>"),
    in_value=ends_in_string,
)

_THINK = rb"^<think>.*?</think>"
_CALLS = rb"\n<tool_call>\n.*?\n</tool_call>"
_ANSWER = rb"\n<response>.*?</response>"


def parse_rlla(text: bytes) -> Turn:
    """Spans of one rlla turn; text outside of every block belongs to no region."""
    return parse_tagged(text, _TAGS)


def is_legal_rlla(text: bytes, turn: Turn, kind: Kind) -> bool:
    """ToolRL's rule: reasoning, then exactly the blocks of the kind, each on separate lines, without other text
    between or after them; the tags of each due block occur once."""
    due = [b"tool_call"] * kind.calls + [b"response"] * kind.answer
    if any(text.count(b"<%b>" % tag) != 1 or text.count(b"</%b>" % tag) != 1 for tag in due):
        return False
    pattern = _THINK + _CALLS * kind.calls + _ANSWER * kind.answer + b"$"
    return re.search(pattern, text, re.DOTALL) is not None


RLLA = WireFormat(parse_rlla, is_legal_rlla, read_json_call)
