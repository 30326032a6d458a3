"""Responses near a ground truth in the format rlla, for comparing rules: calls changed by value, then text broken."""

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shared_data import APIBANK, TOOLRL_TEST

VALUES = (
    "Paris",
    "",
    "3",
    3,
    3.0,
    0,
    None,
    True,
    [1, {"a": "b"}],
    {"city": "Rome"},
    "1",
    'a "quote" {',
    "</tool_call>",
)

Calls = list[dict[str, Any]]


def calls_of(truth: str) -> Calls:
    block = truth.partition("<tool_call>")[2].partition("</tool_call>")[0].strip()
    return [json.loads(line) for line in block.split("\n")] if block else []


def written(calls: Calls, answer: str = "", think: str = "<think> I think about it. </think>") -> str:
    lines = "\n".join(json.dumps(call) for call in calls)
    return think + (f"\n<tool_call>\n{lines}\n</tool_call>" if calls else "") + (f"\n{answer}" if answer else "")


def _some(calls: Calls, rng: random.Random) -> dict[str, Any]:
    return rng.choice(calls)


def _key(call: dict[str, Any], rng: random.Random) -> str:
    return rng.choice([*call.get("parameters", {}), "extra", "city"])


def _set(calls: Calls, rng: random.Random) -> None:
    call = _some(calls, rng)
    if isinstance(call.get("parameters"), dict):
        call["parameters"][_key(call, rng)] = rng.choice(VALUES)


def _drop_argument(calls: Calls, rng: random.Random) -> None:
    call = _some(calls, rng)
    if isinstance(call.get("parameters"), dict):
        call["parameters"].pop(_key(call, rng), None)


def _reverse_keys(calls: Calls, rng: random.Random) -> None:
    call = _some(calls, rng)
    if isinstance(call.get("parameters"), dict):
        call["parameters"] = dict(reversed(call["parameters"].items()))


CALL_CHANGES: Sequence[Callable[[Calls, random.Random], Any]] = (
    _set,
    _set,
    _drop_argument,
    _reverse_keys,
    lambda calls, rng: _some(calls, rng).update(name=rng.choice(["other", "", 3, None, ["x"], {"x": 1}])),
    lambda calls, rng: _some(calls, rng).update(parameters=rng.choice([None, [], "x", 3, {}])),
    lambda calls, rng: _some(calls, rng).pop(rng.choice(["name", "parameters"]), None),
    lambda calls, rng: _some(calls, rng).update(id=rng.choice([1, "x"])),
    lambda calls, rng: calls.insert(rng.randrange(len(calls) + 1), copy.deepcopy(_some(calls, rng))),
    lambda calls, rng: calls.append({"name": "other", "parameters": {"a": 1}}),
    lambda calls, rng: calls.append({"name": "other"}),
    lambda calls, rng: calls.append({"name": _some(calls, rng).get("name")}),
    lambda calls, rng: calls.append({"parameters": {"a": 1}}),
    lambda calls, rng: calls.pop(rng.randrange(len(calls))) if len(calls) > 1 else None,
    lambda calls, rng: rng.shuffle(calls),
)

OPEN, CLOSE = "<tool_call>\n", "\n</tool_call>"
TEXT_CHANGES: Sequence[Callable[[str, random.Random], str]] = (
    # of the block
    lambda text, rng: text.replace(OPEN, OPEN + "```json\n").replace(CLOSE, "\n```" + CLOSE),
    lambda text, rng: text.replace(
        OPEN, OPEN + rng.choice(["Here it is:\n", "// first\n", "\n", "{\n", "3\n", "[]\n"])
    ),
    lambda text, rng: text.replace(CLOSE, rng.choice([" # done", ",", "\n", "\nDone.", "]", "\r"]) + CLOSE),
    lambda text, rng: text.replace(OPEN, OPEN + "[").replace(CLOSE, "]" + CLOSE),
    lambda text, rng: text.replace("}\n{", rng.choice(["} {", "},\n{", "}\n\n{", "}\n \n{", "}\r\n{", "}\u2028{"])),
    lambda text, rng: text.replace('"parameters": {', '"parameters":\n{', 1),
    lambda text, rng: text.replace("}", rng.choice(["", "}}", ",}"]), 1),
    lambda text, rng: text.replace('"parameters"', '"arguments"', 1),
    lambda text, rng: text.replace('"name"', rng.choice(["'name'", '"nam"', '"name": "f", "name"']), 1),
    lambda text, rng: text.replace("3", rng.choice(["NaN", "Infinity", "1e999", "3.0", "03"]), 1),
    lambda text, rng: text.replace(": ", rng.choice([":", " : ", ":\t", ":\u00a0"])),
    # of the tags
    lambda text, rng: text.replace(rng.choice(TAGS), "", 1),
    lambda text, rng: text.replace(tag := rng.choice(TAGS), tag + rng.choice(["", "\n", " "]) + tag, 1),
    lambda text, rng: text.replace("<think>", f"<think> I write {rng.choice(TAGS)} now.", 1),
    lambda text, rng: text.replace(
        "</think>", rng.choice(["</think> Well. </think>", "", "<think> again </think>"]), 1
    ),
    lambda text, rng: text.replace("</think>\n", rng.choice(["</think>", "</think>\n\n", "</think> \n"]), 1),
    lambda text, rng: text + rng.choice(["\n<response> Done. </response>", "<response></response>"]),
    lambda text, rng: text + "\n" + OPEN + '{"name": "other", "parameters": {}}' + CLOSE,
    lambda text, rng: text.partition("\n")[2] + "\n" + text.partition("\n")[0],
    # around
    lambda text, rng: rng.choice([" ", "\n", "\u00a0", "Well. ", "\ufeff"]) + text,
    lambda text, rng: text + rng.choice([" ", "\n", "\n\n", "\u3000", " bye", "<|im_end|>", "<|im_end|> Noise."]),
    lambda text, rng: rng.choice(["Noise. ", text]) + "<|im_start|>assistant\n" + text,
    lambda text, rng: text.replace("\n", "\r\n"),
    lambda text, rng: text[: rng.randrange(len(text) + 1)],
    # of the reasoning
    lambda text, rng: text.replace("think about", "think\u00a0about\u2003" + "so " * rng.choice([1, 300]), 1),
)
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>")


def mutated(truths: Sequence[str], count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """So many pairs of a ground truth and a response, at times the right one."""
    rng = random.Random(seed)
    for number in range(count):
        truth = truths[number % len(truths)]
        calls = copy.deepcopy(calls_of(truth)) or [{"name": "f", "parameters": {"a": 1}}] * (rng.random() < 0.2)
        for _ in range(rng.choice([0, 1, 1, 2, 3]) if calls else 0):
            rng.choice(CALL_CHANGES)(calls, rng)
        answer = "<response> It is done. </response>"
        text = written(calls, answer if ("<response>" in truth) != (rng.random() < 0.1) else "")
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            text = rng.choice(TEXT_CHANGES)(text, rng)
        yield truth, text


def toolrl_truths() -> list[str]:
    """Ground truths of ToolRL's test rows."""
    import pandas

    return [row["ground_truth"] for row in pandas.read_parquet(TOOLRL_TEST)["reward_model"]]


def apibank_answers() -> list[dict[str, Any]]:
    """The due call of each question of API-Bank's level 2."""
    return [row["answer"] for row in json.loads(APIBANK.read_text())]
