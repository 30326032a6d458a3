"""`hermes`, the format of Qwen and Hermes models: one call in each `<tool_call>` block, the answer as plain text.

<think>reasoning</think>
<tool_call>
{"name": "get_weather", "arguments": {"city": "Paris"}}
</tool_call>
"""

import re

from rest_verl.core.tags import parse_tagged
from rest_verl.core.tool_calls import Kind, Turn

# A prompt may have opened the reasoning, so that the turn holds its closing tag alone.
_ORDER_OF_TAGS = re.compile(rb"((<think>)?</think>)?(<tool_call></tool_call>)*")


def parse_hermes(text: bytes) -> Turn:
    """Spans of one hermes turn; what stands outside of every block is the answer."""
    turn, outside = parse_tagged(text, (b"tool_call",))
    turn.response.extend(span for span in outside if text[slice(*span)].strip())
    return turn


def is_legal_hermes(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one complete call in each call block; an answer where one is due.

    Qwen's models may talk before they call, so text beside calls is legal even where no answer is due.
    """
    if not _ORDER_OF_TAGS.fullmatch(b"".join(text[slice(*span)] for span in turn.markers)):
        return False
    opened = [end for start, end in turn.markers if text[start:end] == b"<tool_call>"]
    closed = [start for start, end in turn.markers if text[start:end] == b"</tool_call>"]
    return (
        len(turn.calls) == len(opened)
        and all(
            call.complete and begin <= call.whole[0] and call.whole[1] <= end
            for call, begin, end in zip(turn.calls, opened, closed, strict=True)
        )
        and bool(opened) == kind.calls
        and (bool(turn.response) or not kind.answer)
    )
