"""Scoring as the reward manager does it, from text; and text that it must survive, of any size: what is written once
and then repeated until the limit is reached."""

import json
from collections.abc import Callable
from functools import cache

from rest_verl.config.rest import load
from rest_verl.formats import get_format
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import read_ground_truth

THINK = "<think> t </think>\n"
WEATHER = '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}'
TIME = '{"name": "get_time", "parameters": {}}'
ANSWER = "<response> It rains. </response>"


def block(*calls):
    """A block of calls in the format rlla."""
    return "<tool_call>\n" + "\n".join(calls) + "\n</tool_call>"


CALL = THINK + block(WEATHER)
# What a row of BFCL asks for, for which that is the right answer.
BFCL = {
    "answer": CALL,
    "functions": [
        {
            "name": "get_weather",
            "parameters": {
                "type": "dict",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        }
    ],
    "possible_answer": [{"get_weather": {"city": ["Paris"], "days": [3, ""]}}],
    "category": "simple_python",
}


def reward(settings="paper"):
    """The reward of a preset, or of keys."""
    return _reward(json.dumps(settings))


@cache
def _reward(settings):
    return ToolReward(load({"rest": {"reward": json.loads(settings)}}).reward)


def score(turns, truth, settings="paper", step=0, wire_format="rlla"):
    """Components of a response, whose turns are text or bytes, to a ground truth in the format rlla."""
    scorer = reward(settings)
    texts = [turn if isinstance(turn, bytes) else turn.encode("utf-8", "surrogatepass") for turn in turns]
    return scorer.score(scorer.read(texts, get_format(wire_format)), read_ground_truth(truth), step)


def strict(text, truth, format):
    """Score and acc under `strict`, when its bounds stand still."""
    found = score([text], truth, "strict", step=150, wire_format=format)
    return found["score"], found["acc"]


def _value(text: str) -> str:
    return THINK + block(WEATHER.replace('"Paris"', text))


# kind -> text of about so many bytes
GROWING: dict[str, Callable[[int], str]] = {
    "braces": lambda size: THINK + block("{" * size),
    "closing braces": lambda size: THINK + block("}" * size),
    "brackets in a value": lambda size: _value("[" * size),
    "nested values": lambda size: _value("[" * (size // 2) + "]" * (size // 2)),
    "one long line": lambda size: _value('"' + "x" * size + '"'),
    "an open string": lambda size: THINK + '<tool_call>\n{"name": "' + "x" * size,
    "backslashes": lambda size: _value('"' + "\\" * size),
    "tags of reasoning": lambda size: "<think>" * (size // 7),
    "closed reasoning": lambda size: "<think></think>" * (size // 15),
    "blocks of calls": lambda size: "<tool_call>\n</tool_call>\n" * (size // 25),
    "open blocks": lambda size: THINK + "<tool_call>\n" * (size // 12),
    "the right call": lambda size: THINK + block(*[WEATHER] * (size // 70)),
    "calls of another tool": lambda size: THINK + block(*['{"name": "f", "parameters": {}}'] * (size // 31)),
    "broken calls": lambda size: THINK + block(*["{]"] * (size // 3)),
    "many arguments": lambda size: _value('"", ' + ", ".join(f'"k{i}": 1' for i in range(size // 10)) + ', "z": 1'),
    "chat markers": lambda size: "<|im_start|>assistant<|im_end|>" * (size // 31),
    "lone surrogates": lambda size: CALL + "\ud800" * (size // 3),
    "zeros": lambda size: "\0" * size,
}
