"""Correctness of calls as ToolRL (arXiv 2504.13958) and ResT score it. Pure functions.

Let G be the calls of the ground truth, P the calls of the response, and J(a, b) the multiset Jaccard index
|a & b| / |a | b| (1 for two equal lists, 0 if just one is empty):

    S     = J(names(G), names(P)) + sum_{g in G} max_{p unused, name(p) = name(g)} [ J(keys(g), keys(p)) + V(g, p) ]
    V     = number of keys of g that have an equal value in p
    S_max = 1 + sum_{g in G} (1 + |keys(g)|)

and the share of the correctness reward is S / S_max. Each p matches at most one g, in the order of G; ties go to the
first p, and a p that scores 0 stays unused. S = 0 if the response has no readable call, or any unreadable one. Values
are compared as Python does (true equals 1).

ToolRL's ablations change the granularity:

- `refined`: J is 1 for equal lists in the same order, and 0 for all others;
- `intermediate`: in the sum, a p that equals g counts 1 and any other 0; S_max = 1 + |G|;
- `coarse`: the share is 1 if the two lists of calls are equal and in the same order, and 0 otherwise.

In all of them, two equal lists of calls have a share of 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.formats.rlla import RLLA
from rest_verl.reward.response import Response
from rest_verl.reward.truth import NO_MATCH, DueCall, Match, jaccard

# Text around the response in the chat templates that ToolRL reads, those of Qwen and Llama 3.
_CHAT_MARKERS = (
    ("<|im_start|>assistant", "<|im_end|>"),
    ("<|start_header_id|>assistant<|end_header_id|>", "<|eot_id|>"),
)

_THINK = r"<think>.*?</think>"
_CALLS = r"\n<tool_call>\n.*?\n</tool_call>"
_ANSWER = r"\n<response>.*?</response>"

Agreement = Callable[[Sequence[str], Sequence[str]], float]


def match_in_order(due: Sequence[DueCall], calls: Sequence[ToolCall], granularity: str = "fine") -> Match:
    """Match calls with the calls of the ground truth, greedily in the order of the ground truth.

    Args:
        due: G, not empty.
        calls: P.
        granularity: fine, refined, intermediate or coarse.
    """
    if not calls:
        return NO_MATCH
    agreement: Agreement = _equality if granularity == "refined" else jaccard
    name = agreement([wanted.name for wanted in due], [call.name for call in calls])
    unused = list(calls)
    arg_keys = arg_values = whole = 0.0
    for wanted in due:
        best, best_score = None, (0.0, 0.0)
        for index, call in enumerate(unused):
            if call.name != wanted.name:
                continue
            score = _agreement_of_arguments(wanted.arguments, call.arguments, agreement)
            if sum(score) > sum(best_score):
                best, best_score = index, score
        if best is not None:
            arg_keys += best_score[0]
            arg_values += best_score[1]
            del unused[best]
    if granularity == "intermediate":
        whole = _equal_calls(due, calls)
    arguments = sum(len(wanted.arguments) for wanted in due)
    if [(wanted.name, wanted.arguments) for wanted in due] == [(call.name, call.arguments) for call in calls]:
        share = 1.0
    elif granularity == "coarse":
        share = 0.0
    elif granularity == "intermediate":
        share = (name + whole) / (1 + len(due))
    else:
        share = (name + arg_keys + arg_values) / (1 + len(due) + arguments)
    return Match(share, name, arg_keys / len(due), arg_values / max(arguments, 1))


def read_first_block(texts: Sequence[bytes]) -> Response:
    """Read the turns of a response as ToolRL's code does, in the format rlla.

    A turn begins after the last assistant marker of a chat template and ends at the next end-of-turn marker, no matter
    who wrote them. Its calls are the lines between the first `<tool_call>` and the next closing tag, even inside of
    reasoning.
    """
    turns = [_cut_chat(text.decode("utf-8", "replace")) for text in texts]
    calls = [call for turn in turns for call in _lines_of_first_block(turn)]
    cut = [turn.encode() for turn in turns]
    return Response(cut, [RLLA.parse(text) for text in cut], RLLA, calls)


def is_legal_as_published(response: Response, kind: Kind) -> bool:
    """ToolRL's rule in the format rlla: reasoning, then exactly the blocks of the kind, each on lines of its own, with
    nothing else but white space around the whole; the tags of each due block occur once. In other formats, and for
    several turns, `Response.is_legal`."""
    if response.wire_format is not RLLA or len(response.texts) != 1:
        return response.is_legal(kind)
    text = response.texts[0].decode("utf-8", "replace").strip()
    due = ["tool_call"] * kind.calls + ["response"] * kind.answer
    if any(text.count(f"<{tag}>") != 1 or text.count(f"</{tag}>") != 1 for tag in due):
        return False
    return re.fullmatch(_THINK + _CALLS * kind.calls + _ANSWER * kind.answer, text, re.DOTALL) is not None


def _equality(first: Sequence[str], second: Sequence[str]) -> float:
    return float(first == second)


def _agreement_of_arguments(due: dict[str, Any], given: dict[str, Any], agreement: Agreement) -> tuple[float, float]:
    """J(keys) and V."""
    values = sum(key in given and given[key] == value for key, value in due.items())
    return agreement(list(due), list(given)), float(values)


def _equal_calls(due: Sequence[DueCall], calls: Sequence[ToolCall]) -> float:
    """Number of ground-truth calls with an equal call in the response, paired one to one."""
    unused = list(calls)
    for wanted in due:
        equal = ToolCall(wanted.name, wanted.arguments)
        if equal in unused:
            unused.remove(equal)
    return float(len(calls) - len(unused))


def _cut_chat(text: str) -> str:
    for begin, end in _CHAT_MARKERS:
        text = text.split(begin)[-1].split(end)[0]
    return text.strip()


def _lines_of_first_block(text: str) -> list[ToolCall | None]:
    if "<tool_call>" not in text:
        return []
    if "</tool_call>" not in text:
        return [None]
    block = text.split("<tool_call>")[1].split("</tool_call>")[0].strip()
    return [_read_line(line) for line in block.split("\n")]


def _read_line(line: str) -> ToolCall | None:
    try:
        call = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict):
        return None
    name, arguments = call.get("name"), call.get("parameters")
    return ToolCall(name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None
