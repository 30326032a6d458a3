"""Text that a reward must survive, of any size: what is written once and then repeated until the limit is reached."""

from collections.abc import Callable

WEATHER = '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}'
THINK = "<think> t </think>\n"


def _block(*calls: str) -> str:
    return "<tool_call>\n" + "\n".join(calls) + "\n</tool_call>"


def _value(text: str) -> str:
    return THINK + _block(WEATHER.replace('"Paris"', text))


CALL = THINK + _block(WEATHER)

# kind -> text of about so many bytes
GROWING: dict[str, Callable[[int], str]] = {
    "braces": lambda size: THINK + _block("{" * size),
    "closing braces": lambda size: THINK + _block("}" * size),
    "brackets in a value": lambda size: _value("[" * size),
    "nested values": lambda size: _value("[" * (size // 2) + "]" * (size // 2)),
    "one long line": lambda size: _value('"' + "x" * size + '"'),
    "an open string": lambda size: THINK + '<tool_call>\n{"name": "' + "x" * size,
    "backslashes": lambda size: _value('"' + "\\" * size),
    "tags of reasoning": lambda size: "<think>" * (size // 7),
    "closed reasoning": lambda size: "<think></think>" * (size // 15),
    "blocks of calls": lambda size: "<tool_call>\n</tool_call>\n" * (size // 25),
    "open blocks": lambda size: THINK + "<tool_call>\n" * (size // 12),
    "the right call": lambda size: THINK + _block(*[WEATHER] * (size // 70)),
    "calls of another tool": lambda size: THINK + _block(*['{"name": "f", "parameters": {}}'] * (size // 31)),
    "broken calls": lambda size: THINK + _block(*["{]"] * (size // 3)),
    "many arguments": lambda size: _value('"", ' + ", ".join(f'"k{i}": 1' for i in range(size // 10)) + ', "z": 1'),
    "chat markers": lambda size: "<|im_start|>assistant<|im_end|>" * (size // 31),
    "lone surrogates": lambda size: CALL + "\ud800" * (size // 3),
    "zeros": lambda size: "\0" * size,
}
