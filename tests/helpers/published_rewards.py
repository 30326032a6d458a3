"""What a response earns by the published code, written again from its description: ToolRL's and ResT's reward of
training, and API-Bank's soft score as both publish it.

Nothing here imports the package. Texts are str in the format rlla. Where the published code raises inside its own
`try`, and so gives its minimum or nothing, this raises `Void`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOOLRL, REST = "ToolRL", "ResT"
CHATS = {
    "qwen": ("<|im_start|>assistant", "<|im_end|>"),
    "llama": ("<|start_header_id|>assistant<|end_header_id|>", "<|eot_id|>"),
}


class Void(Exception):
    """The published code stops at this response."""


@dataclass(frozen=True)
class Rules:
    """Whose rules, and ToolRL's switches as its scripts set them.

    Attributes:
        whose: TOOLRL or REST; they differ in the format alone.
        switches: names of the environment variables that are "1".
        chat: key of CHATS: the model's chat template.
    """

    whose: str = TOOLRL
    switches: frozenset[str] = frozenset()
    chat: str = "qwen"


def published_reward(response: str, truth: str, step: int, rules: Rules) -> tuple[float, float, float]:
    """Format, correctness and length reward; `Void` if the ground truth itself cannot be read."""
    begin, end = CHATS[rules.chat]
    said = response.rpartition(begin)[2].partition(end)[0].strip()
    low, high = -3.0, 3.0
    worst, best = 0.0, 1.0
    if "CORRECTMAX1" in rules.switches:
        low, high = -1.0, 1.0
    if "MAX1STEP30MAX3" in rules.switches:
        late = step >= 30
        best, low, high = best / (2 if late else 1), low / (1 if late else 3), high / (1 if late else 3)
    if "SCHEDULEREWARD" in rules.switches:
        done = step / 150
        best, worst = max(1.0, 2 - done), min(-1.0, 2 * done - 2)
        low, high = max(-3.0, -2 - done), min(3.0, 2 + done)
    formed = has_format(said, truth) if rules.whose == TOOLRL else has_loose_format(said, truth)
    correctness = 0.0
    if "<tool_call>" in truth:
        due = lines_of_calls(truth)
        try:
            correctness = low + (high - low) * share_of_calls(lines_of_calls(said), due, rules)
        except Void:
            correctness = low
    return (best if formed else worst), correctness, length_share(said, step, rules)


def has_format(said: str, truth: str) -> bool:
    """ToolRL: reasoning and the due blocks, one after the other, each on a line of its own, nothing else outside."""
    wanted = r"\A<think>.*?</think>"
    once = []
    for tag, inside in (("tool_call", r"\n.*?\n"), ("response", ".*?")):
        if f"<{tag}>" in truth:
            wanted += rf"\n<{tag}>{inside}</{tag}>"
            once += [f"<{tag}>", f"</{tag}>"]
    return re.match(wanted + r"\Z", said, re.DOTALL) is not None and all(said.count(tag) == 1 for tag in once)


def has_loose_format(said: str, truth: str) -> bool:
    """ResT: the first tags of reasoning and the due blocks are there in this order, those of the blocks once; where
    only calls are due there is no tag of an answer."""
    due = [tag for tag in ("tool_call", "response") if f"<{tag}>" in truth]
    if due == ["tool_call"] and re.search("</?response>", said):
        return False
    tags = [f"<{slash}{tag}>" for tag in ("think", *due) for slash in ("", "/")]
    places = [said.find(tag) for tag in tags]
    return -1 not in places and places == sorted(places) and all(said.count(tag) == 1 for tag in tags[2:])


def lines_of_calls(text: str) -> list[Any]:
    """The lines after the first opening tag, up to the next closing tag, each as JSON."""
    if "<tool_call>" not in text or "</tool_call>" not in text:
        raise Void
    block = text.split("<tool_call>", 2)[1].partition("</tool_call>")[0].strip()
    try:
        return [json.loads(line) for line in block.split("\n")]
    except (ValueError, RecursionError):
        raise Void from None


def share_of_calls(made: list[Any], due: list[Any], rules: Rules) -> float:
    """The part of the way from the lowest to the highest correctness reward."""
    if made == due:
        return 1.0
    if "COARSEREWARD" in rules.switches:
        return 0.0
    whole = "INTERMEDIATEREWARD" in rules.switches
    if any(not isinstance(call, dict) or "name" not in call for call in made):
        raise Void
    points = overlap([call["name"] for call in due], [call["name"] for call in made], rules)
    free = list(range(len(made)))
    for wanted in due:
        chosen, most = None, 0.0
        for place in free:
            if made[place]["name"] != wanted["name"]:
                continue
            worth = float(made[place] == wanted) if whole else worth_of_arguments(wanted, made[place], rules)
            if worth > most:
                chosen, most = place, worth
        points += most
        free = [place for place in free if place != chosen]
    return points / (1 + sum(1 if whole else 1 + len(wanted["parameters"]) for wanted in due))


def worth_of_arguments(wanted: Mapping[str, Any], made: Mapping[str, Any], rules: Rules) -> float:
    """Of one call for another: overlap of the keys, and one for each due key with the same value."""
    given = made.get("parameters")
    if not isinstance(given, dict):
        raise Void
    asked = wanted["parameters"]
    return overlap([*asked], [*given], rules) + sum(key in given and given[key] == asked[key] for key in asked)


def overlap(first: list[Any], second: list[Any], rules: Rules) -> float:
    """Common items over all items, each as often as it occurs."""
    if first == second:
        return 1.0
    if "REFINEDREWARD" in rules.switches or not first or not second:
        return 0.0
    if any(isinstance(item, list | dict) for item in second):
        raise Void
    rest, common = list(second), 0
    for item in first:
        if item in rest:
            rest.remove(item)
            common += 1
    return common / (len(first) + len(second) - common)


def length_share(said: str, step: int, rules: Rules) -> float:
    """Words after the last opening tag of reasoning over the words that earn everything."""
    if "<think>" not in said or "</think>" not in said:
        return 0.0
    most = 384 + 256 * step / 105 if "SCHEDULELENGTH" in rules.switches else 512
    words = said.rpartition("<think>")[2].partition("</think>")[0].split()
    return min(1.0, round(len(words) / most, 2))


def published_soft_score(response: str, answer: Mapping[str, Any]) -> float:
    """API-Bank's soft score of a response where this call is the answer."""
    block = response.strip().rpartition("<tool_call>")[2].partition("</tool_call>")[0]
    found = []
    for line in block.strip().split("\n"):
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    for call in found:
        if isinstance(call, str):
            try:
                call = json.loads(call)
            except (ValueError, RecursionError):
                return 0.0  # its own `try` is around the loop: nothing after this line is looked at
        if isinstance(call, dict):
            whole = {"name": answer["name"], "parameters": call} if not {"name", "parameters"} <= call.keys() else call
            if whole["name"] == answer["name"] and whole["parameters"] == answer["parameters"]:
                return 1.0
        elif not isinstance(call, list | str) or ("name" in call and "parameters" in call):
            return 0.0
    return 0.0
