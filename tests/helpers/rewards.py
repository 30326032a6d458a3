"""Scoring as the reward manager does it, from text."""

import json
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
