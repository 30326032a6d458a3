"""Turns in the formats whose calls are JSON objects, with tags around each or without, or notations of their own for
values (Python's and Gemma's), as labelled parts."""

from typing import Any

from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Call, Part, to_json

from rest_verl.core.regions import Region


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


def _message(channel: bytes, text: str, region: Region, end: bytes) -> list[Part]:
    return [(b"<|channel|>" + channel + b"<|message|>", FORMAT), (text.encode(), region), (end, FORMAT)]


def render_pythonic(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn; a part that is empty is left out. An answer beside calls stands behind them, as what a model may write
    though it must not."""
    parts = [(b"<think>", FORMAT), (thought.encode(), THINK), (b"</think>", FORMAT)] if thought else []
    if calls:
        parts += [(b"\n\n" if thought else b"", OTHER), (b"[", FORMAT)]
        for number, (name, arguments) in enumerate(calls):
            written = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            parts += [(b",", FORMAT), (b" ", OTHER)] if number else []
            parts += [(name.encode(), NAME), (f"({written})".encode(), ARGS)]
        parts += [(b"]", FORMAT)]
    # white space before an answer is part of the stretch outside of all blocks, which is the answer
    return [*parts, (b"\n" + answer.encode(), RESPONSE)] if answer else parts


def render_gemma4(thought: str, calls: list[Call], answer: str) -> list[Part]:
    """One turn, one block a call; a part that is empty is left out."""
    parts = []
    if thought:
        parts += [(b"<|channel>thought", FORMAT), (f"\n{thought}\n".encode(), THINK), (b"<channel|>", FORMAT)]
    parts += [(answer.encode(), RESPONSE)]
    for name, arguments in calls:
        parts += [(b"<|tool_call>", FORMAT), (b"call:", FORMAT), (name.encode(), NAME)]
        parts += [(gemma_value(arguments), ARGS), (b"<tool_call|>", FORMAT)]
    return parts


def gemma_value(value: Any) -> bytes:
    """A value in Gemma's notation."""
    if isinstance(value, str):
        return b'<|"|>' + value.encode() + b'<|"|>'
    if isinstance(value, dict):
        return b"{" + b",".join(key.encode() + b":" + gemma_value(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(gemma_value, value)) + b"]"
    return to_json(value)
