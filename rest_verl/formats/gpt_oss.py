"""`gpt-oss`, the format of gpt-oss models (harmony): a turn is a sequence of messages, each with a header and a body.

<|channel|>analysis<|message|>reasoning<|end|>
<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>

The line breaks above are for reading; a turn has none between messages. The prompt ends with `<|start|>assistant`, so
a turn begins inside of a header. A name may have spaces: it ends with its line, at the next tag, or before a type of
content (`json`, `code`). Where the tools of the row are known and none has this name, it may be one with that type, or
its first word. The
channel gives the type of a message: `analysis` is reasoning, any other (`final`,
`commentary`) is the answer. A message with a recipient, after the role or after the channel, is a call in any channel;
`functions.` before the name is a marker.

A header ends with `<|message|>`, a body at the next `<|end|>`, `<|call|>`, `<|return|>`, `<|start|>` or `<|channel|>`
(inside a string of a call's arguments these are text). A call whose arguments are a closed object is completed by
`<|call|>` or by the end of the turn: the tokenizer's end-of-sequence token has no bytes.
"""

from __future__ import annotations

import re

from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, Kind, Span, ToolCall, ToolSchemas, Turn, WireFormat
from rest_verl.formats.parse.json_calls import find, json_arguments, read_named_call
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.open_json import read_open_named
from rest_verl.formats.parse.tags import append, is_legal_order, take_answer

_START, _CHANNEL, _MESSAGE = b"<|start|>", b"<|channel|>", b"<|message|>"
_BODY_ENDS = (_START, _CHANNEL, b"<|end|>", b"<|call|>", b"<|return|>")
# Without the tokens that end a turn: it may lack them.
_ALL_TAGS = (_START, _CHANNEL, _MESSAGE, b"<|end|>", b"<|constrain|>")
_BODY_END = re.compile(b"|".join(map(re.escape, _BODY_ENDS)))
_HEADER_END = re.compile(rb"<\|message\|>|(?=<\|(?:start|end|call|return)\|>)")
_OPEN_HEADER = re.compile(rb"\s*to=")
_RECIPIENT = re.compile(rb"(?<!\S)to=(?:functions\.)?(?P<name>(?:[^\s<][^<\n]*)?)")
_TYPES_OF_CONTENT = (b" json", b" code")
_ANALYSIS = re.compile(rb"<\|channel\|>\s*analysis\b")
_CALL_END = re.compile(rb"\s*(?:<\|call\|>|\Z)")
_ARGUMENTS = json_arguments(*_BODY_ENDS)

# A header that is not finished may be that of a call.
_MARKUP = call_markup(
    *(tag[:-1] for tag in (_START, _CHANNEL, b"<|constrain|>", _MESSAGE, b"<|call|>")),
    others=(rb"\bto=functions\.",),
    in_markers=rb"<\|call\|>|<\|(?:start|channel)\|>(?!(?s:.*)<\|message\|>\Z)",
)

_BEGIN = rb"(\A|<\|start\|>assistant)"
_TO, _ON = rb" to=functions\.", rb"<\|channel\|>(analysis|commentary)"
_TYPE = rb"( json| ?<\|constrain\|>json)?<\|message\|>"
_TALK = _BEGIN + _ON + rb"<\|message\|><\|end\|>"
_CALL = _BEGIN + b"(" + _ON + _TO + b"|" + _TO + _ON + b")" + _TYPE
_FINAL = _BEGIN + rb"<\|channel\|>final" + _TYPE + rb"(<\|return\|>|<\|end\|>)?"
_ORDER = re.compile(rb"(%b)*(%b(<\|call\|>%b)*(<\|call\|>)?|%b)?" % (_TALK, _CALL, _CALL, _FINAL))


def parse_gpt_oss(text: bytes) -> Turn:
    """Spans of one gpt-oss turn; text outside of every message is answer text, which makes the turn illegal."""
    turn = Turn()
    position = _take_message(text, 0, turn) if _OPEN_HEADER.match(text) else 0
    while tag := _BODY_END.search(text, position):
        take_answer(text, position, tag.start(), turn)
        if tag.group() in (_START, _CHANNEL):
            position = _take_message(text, tag.start(), turn)
        else:
            turn.markers.append(tag.span())
            position = tag.end()
    take_answer(text, position, len(text), turn)
    return turn


def is_legal_gpt_oss(text: bytes, turn: Turn, kind: Kind) -> bool:
    """Any number of closed reasoning or answer messages, then calls or a final message; an answer if one is due,
    without markup of calls. The last message may lack its closing token, which may have no bytes."""
    return (
        is_legal_order(_ORDER, text, turn, kind)
        and all(call.name is not None for call in turn.calls)
        and all(text.endswith(_MESSAGE, 0, start) for start, _ in turn.response)
        and not _MARKUP.is_in_answer(text, turn)
    )


def _take_message(text: bytes, start: int, turn: Turn) -> int:
    """Take the message whose header begins at text[start]; return where its body ends."""
    _, body = find(_HEADER_END, text, start + 1)
    if recipient := _RECIPIENT.search(text, start, body):
        return _take_call(text, recipient, turn)
    turn.markers.append((start, body))
    end, _ = find(_BODY_END, text, body)
    if _ANALYSIS.search(text, start, body):
        append(turn.think, body, end)
    else:
        take_answer(text, body, end, turn)
    return end


def _take_call(text: bytes, recipient: re.Match[bytes], turn: Turn) -> int:
    """Take the message with a recipient, found in its header; return where its body ends."""
    start, body = recipient.pos, recipient.endpos
    name = _name(text, *recipient.span("name"))
    append(turn.markers, start, name[0])
    append(turn.markers, name[1], body)
    arguments, is_closed = _ARGUMENTS(text, body)
    end = arguments[1] if arguments else body
    complete = is_closed and _CALL_END.match(text, end) is not None
    turn.calls.append(CallSpan((start, end), name if name[0] < name[1] else None, arguments, complete))
    return find(_BODY_END, text, end)[0]


def _name(text: bytes, start: int, end: int) -> Span:
    """The name at the beginning of a stretch of a header, without white space and a type of content after it."""
    is_last = end == len(text) or text.startswith(_MESSAGE, end)
    end = start + len(text[start:end].rstrip())
    for kind in _TYPES_OF_CONTENT:
        if is_last and text.endswith(kind, start, end):
            return start, start + len(text[start : end - len(kind)].rstrip())
    return start, end


def read_gpt_oss(text: bytes, call: CallSpan, tools: ToolSchemas = NO_TOOLS) -> ToolCall | None:
    """Read a complete call (`WireFormat.read`)."""
    read = read_named_call(text, call, tools)
    if read is None or call.name is None or not tools or read.name in tools:
        return read
    end = call.name[1]
    longer = [read.name + kind.decode() for kind in _TYPES_OF_CONTENT if text.startswith(kind, end)]
    meant = [name for name in (*longer, read.name.split(maxsplit=1)[0]) if name in tools]
    return ToolCall(meant[0], read.arguments) if meant else read


GPT_OSS = WireFormat(
    parse_gpt_oss,
    is_legal_gpt_oss,
    read_gpt_oss,
    markup=_ALL_TAGS,
    is_malformed_call=_MARKUP.is_malformed_call,
    read_open=read_open_named(read_gpt_oss, _MESSAGE),
)
