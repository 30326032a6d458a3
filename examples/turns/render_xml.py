"""Turns in the formats whose calls and parameters are tags, as labelled parts."""

import json
from collections.abc import Callable
from typing import Any

from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Call, Part, to_json

DSML = "\uff5cDSML\uff5c"


def render_qwen3_coder(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, one block a call; a part that is empty is left out."""

    def parameter(key: str, value: Any) -> bytes:
        return b"<parameter=%b>\n%b\n</parameter>" % (key.encode(), as_text(value, strips=False))

    blocks = [
        [
            (b"<tool_call>", FORMAT),
            (b"\n", OTHER),
            *tagged_call(call, b"<function=", b">", b"</function>", parameter),
            (b"</tool_call>", FORMAT),
        ]
        for call in calls
    ]
    return turn_of(b"think", thought, answer, blocks)


def render_seed(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, one block a call; a part that is empty is left out."""

    def parameter(key: str, value: Any) -> bytes:
        return b"<parameter=%b>%b</parameter>" % (key.encode(), as_text(value, strips=True))

    blocks = [
        [
            (b"<seed:tool_call>", FORMAT),
            (b"\n", OTHER),
            *tagged_call(call, b"<function=", b">", b"</function>", parameter),
            (b"</seed:tool_call>", FORMAT),
        ]
        for call in calls
    ]
    return turn_of(b"seed:think", thought, answer, blocks)


def render_minimax(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, all calls in one block; a part that is empty is left out."""

    def parameter(key: str, value: Any) -> bytes:
        return b'<parameter name="%b">%b</parameter>' % (key.encode(), as_text(value, strips=True))

    block = [
        (b"<minimax:tool_call>", FORMAT),
        (b"\n", OTHER),
        *(part for call in calls for part in tagged_call(call, b'<invoke name="', b'">', b"</invoke>", parameter)),
        (b"</minimax:tool_call>", FORMAT),
    ]
    return turn_of(b"think", thought, answer, [block] if calls else [])


def render_deepseek_v4(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, all calls in one block; a part that is empty is left out."""
    mark = DSML.encode()

    def parameter(key: str, value: Any) -> bytes:
        is_raw = isinstance(value, str) and DSML not in value
        return b'<%bparameter name="%b" string="%b">%b</%bparameter>' % (
            mark,
            key.encode(),
            b"true" if is_raw else b"false",
            value.encode() if is_raw else tagless_json(value),
            mark,
        )

    block = [(b"<" + mark + b"tool_calls>", FORMAT), (b"\n", OTHER)]
    for call in calls:
        block += tagged_call(call, b'<%binvoke name="' % mark, b'">', b"</%binvoke>" % mark, parameter)
    block += [(b"</" + mark + b"tool_calls>", FORMAT)]
    return turn_of(b"think", thought, answer, [block] if calls else [])


def render_glm(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, one block a call; a part that is empty is left out."""

    def parameter(key: str, value: Any) -> bytes:
        pair = b"<arg_key>%b</arg_key>\n<arg_value>%b</arg_value>"
        return pair % (key.encode(), as_text(value, strips=True))

    blocks = [
        [
            (b"<tool_call>", FORMAT),
            (name.encode(), NAME),
            (b"\n", OTHER),
            *arguments_part(arguments, parameter),
            (b"</tool_call>", FORMAT),
        ]
        for name, arguments in calls
    ]
    return turn_of(b"think", thought, answer, blocks)


def tagged_call(
    call: Call, opening: bytes, name_end: bytes, closing: bytes, parameter: Callable[[str, Any], bytes]
) -> list[Part]:
    """A call in tags of its own, with a line break behind it."""
    name, arguments = call
    return [
        (opening, FORMAT),
        (name.encode(), NAME),
        (name_end, FORMAT),
        (b"\n", OTHER),
        *arguments_part(arguments, parameter),
        (closing, FORMAT),
        (b"\n", OTHER),
    ]


def arguments_part(arguments: dict[str, Any], parameter: Callable[[str, Any], bytes]) -> list[Part]:
    """All parameters, one below the other, with a line break behind them."""
    if not arguments:
        return []
    return [(b"\n".join(parameter(*item) for item in arguments.items()), ARGS), (b"\n", OTHER)]


def as_text(value: Any, strips: bool) -> bytes:
    """A value as raw text where that reads back as it is, as JSON elsewhere.

    Args:
        value: any JSON value.
        strips: whether readers take white space away from both sides of a value.
    """
    if not isinstance(value, str) or "<" in value or (strips and value != value.strip()):
        return tagless_json(value)
    try:
        json.loads(value)
    except ValueError:
        return value.encode()
    return tagless_json(value)


def tagless_json(value: Any) -> bytes:
    """JSON in which no string holds a tag."""
    return to_json(value).replace(b"<", b"\\u003c")


def turn_of(think_tag: bytes, thought: str, answer: str, blocks: list[list[Part]]) -> list[Part]:
    """Reasoning, answer and blocks of calls, with white space between them."""
    parts: list[Part] = []
    if thought:
        parts += [(b"<%b>" % think_tag, FORMAT), (thought.encode(), THINK), (b"</%b>" % think_tag, FORMAT)]
        parts += [(b"\n\n", RESPONSE if answer else OTHER)]
    parts += [(answer.encode(), RESPONSE)]
    for number, block in enumerate(blocks):
        # white space between answer and call is part of the stretch outside of all blocks, which is the answer
        parts += [(b"\n", RESPONSE if answer and number == 0 else OTHER), *block]
    return parts
