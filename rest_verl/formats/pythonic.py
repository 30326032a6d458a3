"""`pythonic`, the format of BFCL's prompts, Llama 3.2, Llama 4 and ToolACE: a turn is a list of calls, or an answer.

<think>reasoning</think>
[get_weather(city="Paris", days=3), math.factorial(n=-5)]

A turn holds calls if the first text after its reasoning is `[`, a name and `(`, or a beginning of that; text with
other brackets (`[1]`, `[note (1)]`, `[]`) is an answer. Names are Python identifiers, with or without dots, or any
text right before keyword arguments, as ToolACE writes them: `[Market Trends API(country="us")]`. Names of arguments
may be any text before `=` (`from=`, `user-id=`). Llama 4 may write the list between `<|python_start|>` and
`<|python_end|>`. The commas between calls are markers like the brackets.

Parsers of this format (vLLM's, BFCL's) accept a list without other text. So a list after other text is a malformed
call in an answer, and text after a list is an answer; either makes the turn illegal. So do calls without the brackets,
to which BFCL adds them.
"""

import re

from rest_verl.core.tool_calls import Kind, Turn, WireFormat
from rest_verl.formats.parse.markup import call_markup
from rest_verl.formats.parse.python_calls import (
    ARGUMENT,
    LOOSE_NAME,
    NAME,
    read_open_python_call,
    read_python_call,
    scan_python_calls,
)
from rest_verl.formats.parse.tags import Tags, is_legal_outline, parse_tagged, take_answer

_START, _END = b"<|python_start|>", b"<|python_end|>"
# Blocks of a turn without calls: there Llama 4's tags are only markers.
_TAGS = Tags(calls=(_START, _END), scan_calls=lambda text, start, turn: start)

_OPENING = re.compile(
    rb"\s*(?:(?P<start>" + re.escape(_START) + rb")\s*)?"
    rb"(?P<bracket>\[)\s*(?=" + NAME + rb"\(|(?:" + NAME + rb")?\Z|" + LOOSE_NAME + rb")"
)
_IDENTIFIER = re.compile(NAME)
_ENDING = re.compile(rb"\s*(?P<end>" + re.escape(_END) + rb")")
_MARKUP = call_markup(_START[:-1], _END[:-1], others=(rb"\[\s*" + NAME + rb"\(\s*(?:" + ARGUMENT + rb"|\))",))
# The prompt may have opened the reasoning: then the turn has its closing tag only.
_OUTLINE = re.compile(
    rb"((<think>)?</think>)?(\[\{\}(,\{\})*\]|<\|python_start\|>\[\{\}(,\{\})*\](<\|python_end\|>)?)?"
)


def parse_pythonic(text: bytes) -> Turn:
    """Spans of one pythonic turn."""
    begin = _end_of_reasoning(text)
    opening = _OPENING.match(text, begin)
    if opening is None:
        return parse_tagged(text, _TAGS)
    turn = parse_tagged(text[:begin], _TAGS)
    turn.markers.extend(opening.span(group) for group in ("start", "bracket") if opening[group])
    position = scan_python_calls(text, opening.start("bracket"), turn)
    if ending := _ENDING.match(text, position):
        turn.markers.append(ending.span("end"))
        position = ending.end()
    take_answer(text, position, len(text), turn)
    return turn


def _end_of_reasoning(text: bytes) -> int:
    """End of the reasoning at the beginning of a turn; 0 if there is none."""
    tag = _TAGS.think_tag.search(text)
    if tag is None:
        return 0
    opening, closing = _TAGS.think
    if tag.group() == opening:
        end = text.find(closing, tag.end())
        at_the_beginning = not text[: tag.start()].strip()
        return (end + len(closing) if end >= 0 else len(text)) if at_the_beginning else 0
    # A turn that begins with a call has no reasoning before it, whatever tags the call's text holds.
    return 0 if _OPENING.match(text[: tag.start()]) else tag.end()


def is_legal_pythonic(text: bytes, turn: Turn, kind: Kind) -> bool:
    """At most one reasoning block, at the beginning; then either one closed list of complete calls with one comma
    between them and no text after it, or an answer without calls if one is due. No turn has both."""
    return (
        is_legal_outline(_OUTLINE, text, turn, kind)
        and not (turn.calls and turn.response)
        and not _is_call_in_answer(text, turn)
    )


def _is_malformed_call(text: bytes, turn: Turn) -> bool:
    """`WireFormat.is_malformed_call`."""
    return _MARKUP.is_malformed_call(text, turn) or (not turn.calls and _is_call_in_answer(text, turn))


def _is_call_in_answer(text: bytes, turn: Turn) -> bool:
    """Whether an answer holds a list of calls, or is one but for its brackets."""
    return _MARKUP.is_in_answer(text, turn) or any(_is_bare_list(text[slice(*span)]) for span in turn.response)


def _is_bare_list(answer: bytes) -> bool:
    """Whether an answer is calls without brackets, perhaps in a code fence: BFCL's reader adds the brackets. Names are
    identifiers here: without brackets, `see f(a=1)` is prose."""
    text = b"[" + answer.strip(b"` \t\r\n").removeprefix(b"python\n") + b"]"
    if _OPENING.match(text) is None:
        return False
    turn = Turn()
    end = scan_python_calls(text, 0, turn)
    return end == len(text) and all(
        call.complete and _IDENTIFIER.fullmatch(text[slice(*call.name)]) and read_python_call(text, call)
        for call in turn.calls
        if call.name
    )


PYTHONIC = WireFormat(
    parse_pythonic,
    is_legal_pythonic,
    read_python_call,
    markup=_TAGS.markup,
    is_malformed_call=_is_malformed_call,
    read_open=read_open_python_call,
)
