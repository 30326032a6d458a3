"""Turns in the formats whose calls are JSON objects between tags, as labelled parts."""

from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Call, Part, to_json


def json_call(call: Call, arguments_key: bytes) -> list[Part]:
    """`{"name": ..., <arguments_key>: {...}}`."""
    name, arguments = call
    return [
        (b'{"name": "', OTHER),
        (to_json(name)[1:-1], NAME),
        (b'", "' + arguments_key + b'": ', OTHER),
        (to_json(arguments), ARGS),
        (b"}", OTHER),
    ]


def think_block(thought: str) -> list[Part]:
    """Reasoning between its tags."""
    return [(b"<think>", FORMAT), (thought.encode(), THINK), (b"</think>", FORMAT)]


def render_rlla(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn; a part that is empty is left out, the reasoning excepted, which rlla always has."""
    parts = think_block(thought)
    if calls:
        parts += [(b"\n", OTHER), (b"<tool_call>", FORMAT), (b"\n", OTHER)]
        for call in calls:
            parts += [*json_call(call, b"parameters"), (b"\n", OTHER)]
        parts += [(b"</tool_call>", FORMAT)]
    if answer:
        parts += [(b"\n", OTHER), (b"<response>", FORMAT), (answer.encode(), RESPONSE), (b"</response>", FORMAT)]
    return parts


def render_hermes(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, one block a call; a part that is empty is left out."""
    parts = [*think_block(thought), (b"\n\n", RESPONSE if answer else OTHER)] if thought else []
    parts += [(answer.encode(), RESPONSE)]
    for number, call in enumerate(calls):
        # white space between answer and call is part of the stretch outside of all blocks, which is the answer
        between = RESPONSE if answer and number == 0 else OTHER
        parts += [(b"\n", between), (b"<tool_call>", FORMAT), (b"\n", OTHER)]
        parts += [*json_call(call, b"arguments"), (b"\n", OTHER), (b"</tool_call>", FORMAT)]
    return parts
