"""The calls that BFCL's questions ask for, as its package `bfcl_eval` holds them, grouped by the turn they belong to,
and whether a row's own answer is accepted.

Multi-turn ground truth is Python source, `cd(folder='document')`; single-turn ground truth lists what is accepted for
each argument, `{"area": {"base": [10], "unit": ["", "cm"]}}`. Nothing is evaluated but literals.
"""

import ast
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from format_view import FormatView
from parts import Call
from right_answers import right_answer

from rest_verl.bfcl.verdict.checker import check_calls
from rest_verl.formats import get_format

MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
# simple_java and simple_javascript are left out: their values are source text of these languages
SINGLE_TURN = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)

# bfcl_eval is never imported: its modules need packages that its data does not
_PACKAGE = importlib.util.find_spec("bfcl_eval")
MISSING = None if _PACKAGE else "needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23"


@dataclass(frozen=True)
class Asked:
    """What one turn was asked, and the calls that answer it (none where the model has to ask back)."""

    category: str
    question: str
    calls: list[Call]


@cache
def multi_turn() -> list[Asked]:
    """Every turn of the multi-turn questions."""
    asked = []
    for category, questions, answers in _rows(MULTI_TURN):
        for messages, sources in zip(questions, answers, strict=True):
            asked.append(Asked(category, _last_message(messages), [_call_of_source(source) for source in sources]))
    return asked


@cache
def single_turn() -> list[Asked]:
    """Every single-turn question."""
    return [
        Asked(
            category,
            _last_message(questions[-1]),
            [(name, _first_accepted(accepted)) for name, accepted in _pairs(answers)],
        )
        for category, questions, answers in _rows(SINGLE_TURN)
    ]


def sample(asked: list[Asked], turns: int, first: int) -> list[Asked]:
    """So many turns of each category, or all of one that has fewer, evenly spread from turn number `first` on."""
    kept = []
    for category in dict.fromkeys(turn.category for turn in asked):
        of_category = [turn for turn in asked if turn.category == category]
        step = max(1, len(of_category) // turns)
        kept += of_category[first % step :: step][:turns]
    return kept


def _rows(categories: tuple[str, ...]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Each row's category, questions (a list of messages a turn) and ground truth."""
    for category in categories:
        questions = {row["id"]: row["question"] for row in _json_lines(f"BFCL_v4_{category}.json")}
        for row in _json_lines(f"possible_answer/BFCL_v4_{category}.json"):
            yield category, questions[row["id"]], row["ground_truth"]


def _json_lines(name: str) -> list[dict[str, Any]]:
    assert _PACKAGE is not None and _PACKAGE.origin is not None, MISSING
    text = (Path(_PACKAGE.origin).parent / "data" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _last_message(messages: list[dict[str, str]]) -> str:
    """The last message's text; a turn that only brings a new tool has none."""
    return messages[-1]["content"] if messages else ""


def _call_of_source(source: str) -> Call:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name), source
    arguments = dict(zip(_parameters()[call.func.id], map(ast.literal_eval, call.args), strict=False))
    return call.func.id, arguments | {str(named.arg): ast.literal_eval(named.value) for named in call.keywords}


@cache
def _parameters() -> dict[str, list[str]]:
    """The parameters of each multi-turn tool in their order, for the 160 calls that name none."""
    apis = ("gorilla_file_system", "math_api", "message_api", "posting_api", "ticket_api", "trading_bot")
    tools = [
        tool
        for api in (*apis, "travel_booking", "vehicle_control")
        for tool in _json_lines(f"multi_turn_func_doc/{api}.json")
    ]
    return {tool["name"]: list(tool["parameters"]["properties"]) for tool in tools}


def _pairs(answers: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [pair for answer in answers for pair in answer.items()]


def _first_accepted(accepted: dict[str, Any]) -> dict[str, Any]:
    """The first accepted value of each argument. An argument whose first one is "" may be left out, and is; a few
    nested dicts hold a bare value, and no accepted value stands for an empty list."""
    return {
        name: _plain(values[0] if isinstance(values, list) and values else values)
        for name, values in accepted.items()
        if not (isinstance(values, list) and values[:1] == [""])
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _first_accepted(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def truth_of(row):
    return json.loads(row["reward_model"]["ground_truth"])


def calls_of(row):
    block = right_answer(row).split("<tool_call>\n")[1].split("\n</tool_call>")[0]
    return [json.loads(line) for line in block.split("\n")]


def refusal(row):
    """Why BFCL's checker would refuse a row's own answer; None where it accepts it."""
    truth = truth_of(row)
    calls = FormatView(get_format("rlla")).read_calls(truth["answer"])
    return check_calls(truth["functions"], calls, truth["possible_answer"], truth["category"])
