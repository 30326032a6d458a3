"""Reasoning that follows from the question: which tool, which values the user gives, what is missing.

A model that imitates one fixed sentence is sure of every token of it, and of the tool's name after it: their entropy
falls to hundredths of a nat, and nothing is left for training to change. Here the words vary with the question, and
what they say is read off it. The same question always gets the same words.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

Call = tuple[str, dict[str, Any]]

_WANTED = ("The user asks: {request}.", "What is wanted: {request}.", "The request is: {request}.", "{request}.")
# Whether to call is decided by one word, in the same place of every answer. Where each wording decides for itself, the
# likeliest words are those of the kind with fewer wordings, and a greedy model refuses most of what it could do.
_TOOL = (
    "There is a tool for it: {name} does that",
    "There is a tool for it, which is {name}",
    "There is a tool for it: {name} fits ({purpose})",
    "There is a tool for it, {name}, whose purpose is: {purpose}",
    "There is a tool for it. {purpose}: that is {name}",
)
_AMONG = ("; {other} does not", ", while {other} is for something else", ", and not {other}", "")
_VALUES = ("It gets {values}.", "From the question I take {values}.", "The user gives {values}.", "So {values}.")
_LEFT_OUT = (
    "Nothing is said about {names}, so I leave it out.",
    "{names} can stay at its default.",
    "The user does not mention {names}.",
)
_NONE = (
    "There is no tool for it: I only have {name} ({purpose}), which does not help here.",
    "There is no tool for it: {name} is for something else: {purpose}.",
    "There is no tool for it; the nearest is {name}, but all it does is: {purpose}.",
    "There is no tool for it, for {name} only does this: {purpose}.",
)
_NO_TOOLS = ("There is no tool for it, for I have none at all.", "There is no tool for it, nor for anything else.")
_SORRY = (
    "I cannot do this with the tools that I have: {request}.",
    "None of my tools can help with this: {request}.",
    "Sorry, for this I have no tool: {request}.",
    "That is not something that my tools can do.",
)
_SHOWN_VALUES, _SHOWN_WORDS, _SHOWN_CHARACTERS = 4, 10, 40


def reasoning(request: str, tools: Sequence[Mapping[str, Any]], calls: Sequence[Call], seed: str) -> str:
    """Return one or a few sentences that lead from a request to the calls that are due.

    Args:
        request: the user's words.
        tools: BFCL's descriptions, each with `name`, `description` and `parameters`.
        calls: (name, arguments) of the due calls; empty if no tool does what is asked.
        seed: any text that names the question.
    """
    pick = random.Random(seed)
    described = {str(tool["name"]): tool for tool in tools}
    said = [pick.choice(_WANTED).format(request=_begin(request))]
    if not calls:
        return " ".join([*said, _refusal(described, pick)])
    for name in dict.fromkeys(name for name, _ in calls):
        tool = described.get(name, {})
        sentence = pick.choice(_TOOL).format(name=name, purpose=_purpose(tool))
        others = [other for other in described if other != name]
        said.append(sentence + (pick.choice(_AMONG).format(other=pick.choice(others)) if others else "") + ".")
        given = [arguments for called, arguments in calls if called == name]
        if values := [f"{key} {_value(value)}" for arguments in given for key, value in arguments.items()]:
            said.append(pick.choice(_VALUES).format(values=", ".join(values[:_SHOWN_VALUES])))
        properties = (tool.get("parameters") or {}).get("properties") or {}
        if missing := [key for key in properties if not any(key in arguments for arguments in given)]:
            said.append(pick.choice(_LEFT_OUT).format(names=missing[0]))
    return " ".join(said)


def refusal(request: str, seed: str) -> str:
    """Return what the user is told if no tool does what is asked; arguments as for `reasoning`."""
    return random.Random(f"refusal {seed}").choice(_SORRY).format(request=_begin(request))


def _refusal(described: Mapping[str, Mapping[str, Any]], pick: random.Random) -> str:
    if not described:
        return pick.choice(_NO_TOOLS)
    name = pick.choice(list(described))
    return pick.choice(_NONE).format(name=name, purpose=_purpose(described[name]))


def _begin(text: str) -> str:
    """The first words of a text, without punctuation at their end."""
    return " ".join(text.split()[:_SHOWN_WORDS]).rstrip(".,:;?! ")


def _purpose(tool: Mapping[str, Any]) -> str:
    """What a tool does, by the first words of its description."""
    return _begin(str(tool.get("description") or "not described").partition(". ")[0])


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS].rstrip()
