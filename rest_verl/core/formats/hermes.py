"""`hermes`, the format of Qwen and Hermes models: one call in each `<tool_call>` block, the answer as plain text.

<think>reasoning</think>
<tool_call>
{"name": "get_weather", "arguments": {"city": "Paris"}}
</tool_call>
"""

from rest_verl.core.tags import parse_tagged
from rest_verl.core.tool_calls import Kind, Turn, WireFormat, register_format


def parse_hermes(text: bytes) -> Turn:
    """Spans of one hermes turn; what stands outside of every block is the answer."""
    turn, outside = parse_tagged(text, (b"tool_call",))
    turn.response.extend(span for span in outside if text[slice(*span)].strip())
    return turn


def is_legal_hermes(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block; every tag closed; one complete call in each call block; an answer where one is due.

    Qwen's models may talk before they call, so text beside calls is legal even where no answer is due.
    """
    tags = [text[slice(*span)] for span in turn.markers]
    blocks = tags.count(b"<tool_call>")
    return (
        tags.count(b"<think>") <= 1
        and tags.count(b"</think>") in (tags.count(b"<think>"), 1)
        and tags.count(b"</tool_call>") == blocks
        and len(turn.calls) == blocks
        and all(call.complete for call in turn.calls)
        and (blocks > 0) == kind.calls
        and (bool(turn.response) or not kind.answer)
    )


register_format("hermes", WireFormat(parse_hermes, is_legal_hermes))
