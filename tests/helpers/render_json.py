"""Turns in the formats whose calls are JSON objects without XML-like tags around each, as labelled parts."""

from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Call, Part, to_json
from render_tags import json_call, think_block


def render_llama3_json(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn of calls, or of the answer where there are none; the format has no place for reasoning."""
    if not calls:
        return [(answer.encode(), RESPONSE)]
    parts = [(b"<|python_tag|>", FORMAT)]
    for number, call in enumerate(calls):
        separator = [(b";", FORMAT), (b" ", OTHER)] if number > 0 else []
        parts += [*separator, *json_call(call, b"parameters")]
    return [*parts, (b"<|eom_id|>", FORMAT)]


def _mistral_text(thought: str, answer: str) -> list[Part]:
    think = [(b"[THINK]", FORMAT), (thought.encode(), THINK), (b"[/THINK]", FORMAT)] if thought else []
    return [*think, (answer.encode(), RESPONSE)]


def render_mistral(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn of the newer form; a part that is empty is left out."""
    parts = _mistral_text(thought, answer)
    for name, arguments in calls:
        parts += [(b"[TOOL_CALLS]", FORMAT), (name.encode(), NAME), (b"[ARGS]", FORMAT), (to_json(arguments), ARGS)]
    return parts


def render_mistral_list(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn of the older form, with one list of calls; a part that is empty is left out."""
    parts = _mistral_text(thought, answer)
    for number, call in enumerate(calls):
        parts += [(b",", FORMAT), (b" ", OTHER)] if number > 0 else [(b"[TOOL_CALLS]", FORMAT), (b"[", FORMAT)]
        parts += json_call(call, b"arguments")
    return [*parts, (b"]", FORMAT)] if calls else parts


def render_kimi(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn with one section of calls; a part that is empty is left out."""
    parts = [*(think_block(thought) if thought else []), (answer.encode(), RESPONSE)]
    for number, (name, arguments) in enumerate(calls):
        opening = b"<|tool_calls_section_begin|>" if number == 0 else b""
        parts += [
            (opening + b"<|tool_call_begin|>functions.", FORMAT),
            (name.encode(), NAME),
            (b":%d<|tool_call_argument_begin|>" % number, FORMAT),
            (to_json(arguments), ARGS),
            (b"<|tool_call_end|>", FORMAT),
        ]
    return [*parts, (b"<|tool_calls_section_end|>", FORMAT)] if calls else parts


def render_gpt_oss(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn behind a prompt that ends with `<|start|>assistant`: reasoning, then talk and calls, or a final
    message; a message that is empty is left out."""
    messages = []
    if thought:
        messages += [_message(b"analysis", thought, THINK, b"<|end|>")]
    if answer and calls:
        messages += [_message(b"commentary", answer, RESPONSE, b"<|end|>")]
    for name, arguments in calls:
        messages += [
            [
                (b"<|channel|>commentary to=functions.", FORMAT),
                (name.encode(), NAME),
                (b" <|constrain|>json<|message|>", FORMAT),
                (to_json(arguments), ARGS),
                (b"<|call|>", FORMAT),
            ]
        ]
    if answer and not calls:
        messages += [_message(b"final", answer, RESPONSE, b"<|return|>")]
    parts: list[Part] = []
    for number, message in enumerate(messages):
        parts += [(b"<|start|>assistant" if number > 0 else b"", FORMAT), *message]
    return parts


def _message(channel: bytes, text: str, region: int, end: bytes) -> list[Part]:
    return [(b"<|channel|>" + channel + b"<|message|>", FORMAT), (text.encode(), region), (end, FORMAT)]
