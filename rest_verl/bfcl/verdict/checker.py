"""Judge calls that answer a single-turn question of BFCL: the verdict of `bfcl_eval` 2026.3.23, without that package.

The verdict is the same for all questions of the leaderboard. In the following cases its own checker stops with an
error, and calls count as wrong here:
- a schema without `properties`, `required`, a known `type`, or the `items` of a list; a Java type that it does not
  support (Set, Hashtable, Queue, Stack);
- an answer that calls a missing tool, or no answer where one call is due;
- an integer too large for a float where a float is expected; in Java and JavaScript an integer with more digits than
  Python converts, and in JavaScript one with a line break after its `n`;
- an item that is not a dict in a list of dicts; accepted values that are not a list, or do not have the form that
  their type requires.
In the parallel categories such a case makes the whole answer wrong as soon as it is met, whatever the other calls are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rest_verl.bfcl.verdict.source import Undecidable
from rest_verl.bfcl.verdict.tools import JAVA, JAVASCRIPT, PYTHON, Language, Tool, read_parameter, read_tool
from rest_verl.bfcl.verdict.values import is_accepted
from rest_verl.common.names import unknown_name
from rest_verl.core.tool_calls import ToolCall

Accepted = Mapping[str, Any]  # {argument: [accepted value, ...]}
NO_VERDICT = "BFCL's own checker has no verdict"  # beginning of the reason if that checker stops with an error


def check_calls(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[ToolCall],
    possible_answer: Sequence[Mapping[str, Any]],
    category: str,
) -> str | None:
    """Judge the calls of one turn. No calls, whatever they hold, make it raise.

    Args:
        functions: BFCL's descriptions of the tools.
        calls: the calls, with JSON values as arguments; in Java and JavaScript these are strings of source text.
        possible_answer: one {name: {argument: [accepted value, ...]}} per due call.
        category: one of CATEGORIES.

    Returns:
        None if the calls are right, else a short reason why they are wrong.

    Raises:
        ValueError: the category is unknown.
    """
    rule, language = _rule_and_language(category)
    try:
        return rule(_Question(functions, possible_answer, language), calls)
    except Undecidable as error:
        return f"{NO_VERDICT}: {error}"


def accepts(function: Mapping[str, Any], accepted: Accepted, key: str, value: Any, category: str) -> bool:
    """Whether the type and value of one argument are right, by the rules of `check_calls`.

    Args:
        function: the description of the called tool.
        accepted: the accepted values of each argument of the call.
        key: the argument's name; one that the tool or the answer lacks is never right.
        value: the argument's value.
        category: one of CATEGORIES.

    Raises:
        ValueError: the category is unknown.
    """
    _, language = _rule_and_language(category)
    try:
        return _wrong_argument(read_tool(function), accepted, key, value, language) is None
    except Undecidable:
        return False


def optional_arguments(function: Mapping[str, Any], accepted: Accepted) -> frozenset[str]:
    """Return the arguments that a right call may omit: "" is an accepted value, and the tool does not require them.

    Empty if the tool's description cannot be read: then no call is right.
    """
    try:
        required = read_tool(function).required
    except Undecidable:
        return frozenset()
    return frozenset(key for key, values in accepted.items() if _is_optional(values) and key not in required)


@dataclass(frozen=True)
class _Question:
    functions: Sequence[Mapping[str, Any]]
    possible_answer: Sequence[Mapping[str, Any]]
    language: Language


def _no_call(question: _Question, calls: Sequence[ToolCall]) -> str | None:
    return f"{len(calls)} calls, but none is right" if calls else None


def _some_call(question: _Question, calls: Sequence[ToolCall]) -> str | None:
    return None if calls else "no call, but one is due"


def _only_tool(question: _Question, calls: Sequence[ToolCall]) -> str | None:
    """One call of the first tool, regardless of the name in the answer."""
    if len(calls) != 1:
        return f"{len(calls)} calls, but 1 is due"
    if not question.functions or not question.possible_answer:
        raise Undecidable("a question without a tool or without an answer")
    _, accepted = _name_and_accepted(question.possible_answer[0])
    return _wrong_call(read_tool(question.functions[0]), accepted, calls[0], question.language)


def _one_tool(question: _Question, calls: Sequence[ToolCall]) -> str | None:
    """One call of the tool named in the answer."""
    if len(calls) != len(question.possible_answer):
        return f"{len(calls)} calls, but {len(question.possible_answer)} are due"
    if not calls:
        raise Undecidable("a question without an answer")
    name, accepted = _name_and_accepted(question.possible_answer[0])
    return _wrong_call(_tool(question.functions, name), accepted, calls[0], question.language)


def _in_any_order(question: _Question, calls: Sequence[ToolCall]) -> str | None:
    """Match each answer in turn with the first right call that is still free.

    As in BFCL, this is not an optimal matching: an answer may take the only call that is right for another.
    """
    if len(calls) != len(question.possible_answer):
        return f"{len(calls)} calls, but {len(question.possible_answer)} are due"
    free = list(calls)
    for answer in question.possible_answer:
        name, accepted = _name_and_accepted(answer)
        tool = _tool(question.functions, name)
        for number, call in enumerate(free):
            if _wrong_call(tool, accepted, call, question.language) is None:
                del free[number]
                break
        else:
            return f"no call matches the answer's call of {_shorten(name)}"
    return None


_Rule = Callable[[_Question, Sequence[ToolCall]], "str | None"]
_CATEGORIES: Mapping[str, tuple[_Rule, Language]] = {
    "simple_python": (_only_tool, PYTHON),
    "simple_java": (_only_tool, JAVA),
    "simple_javascript": (_only_tool, JAVASCRIPT),
    "multiple": (_one_tool, PYTHON),
    "parallel": (_in_any_order, PYTHON),
    "parallel_multiple": (_in_any_order, PYTHON),
    "live_simple": (_only_tool, PYTHON),
    "live_multiple": (_one_tool, PYTHON),
    "live_parallel": (_in_any_order, PYTHON),
    "live_parallel_multiple": (_in_any_order, PYTHON),
    "irrelevance": (_no_call, PYTHON),
    "live_irrelevance": (_no_call, PYTHON),
    "live_relevance": (_some_call, PYTHON),
}
CATEGORIES: tuple[str, ...] = tuple(_CATEGORIES)


def _rule_and_language(category: str) -> tuple[_Rule, Language]:
    if category not in _CATEGORIES:
        raise ValueError(unknown_name("BFCL category", category, _CATEGORIES))
    return _CATEGORIES[category]


def _name_and_accepted(answer: Mapping[str, Any]) -> tuple[str, Accepted]:
    """The name and accepted arguments of an answer's call."""
    for name, accepted in answer.items():
        if isinstance(accepted, Mapping):
            return name, accepted
        break
    raise Undecidable("an answer that is not {name: {argument: [accepted value, ...]}}")


def _tool(functions: Sequence[Mapping[str, Any]], name: str) -> Tool:
    for function in functions:
        if function.get("name") == name:
            return read_tool(function)
    raise Undecidable(f"the answer calls the missing tool {_shorten(name)}")


def _wrong_call(tool: Tool, accepted: Accepted, call: ToolCall, language: Language) -> str | None:
    """Why a call is wrong; None if it is right."""
    if call.name != tool.name:
        return f"a call of {_shorten(call.name)}, but one of {_shorten(tool.name)} is due"
    for key in tool.required:
        if key not in call.arguments:
            return f"the required argument {_shorten(key)} is missing"
    for key, value in call.arguments.items():
        if (reason := _wrong_argument(tool, accepted, key, value, language)) is not None:
            return reason
    for key, values in accepted.items():
        if key not in call.arguments and not _is_optional(values):
            return f"the argument {_shorten(key)} is missing"
    return None


def _wrong_argument(tool: Tool, accepted: Accepted, key: str, value: Any, language: Language) -> str | None:
    """Why an argument is wrong; None if it is right."""
    if key not in tool.schemas or key not in accepted:
        return f"the argument {_shorten(key)} is unexpected"
    parameter = read_parameter(tool.schemas[key], language)
    if language.as_text and type(value) is not str:
        return f"the argument {_shorten(key)} is not a string of source text"
    if not isinstance(accepted[key], list):
        raise Undecidable("accepted values that are not a list")
    value = language.read(value, parameter.declared, parameter.declared_element)
    if is_accepted(value, accepted[key], parameter.outer, parameter.element):
        return None
    return f"the argument {_shorten(key)} has a wrong type or value"


def _is_optional(values: Any) -> bool:
    return isinstance(values, list) and "" in values


def _shorten(name: str) -> str:
    """A name for a message; a model's names may be of any length."""
    return repr(name[:60])
