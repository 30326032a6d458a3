"""Right answers, as turns in the rlla format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rest_verl.data.rows import Row

NO_CALL = (
    "<think> None of the tools at hand can do what is asked, so I call none and say so. </think>\n"
    "<response> I cannot do this with the tools that I have. </response>"
)
_THINK_CALL = "<think> The tools at hand can do what is asked, so I call them with the values the user gave. </think>"


def turn_of_calls(calls: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """Return a turn that makes these (name, parameters) calls.

    Text is not escaped, since that is how a model would write it.
    """
    lines = [json.dumps({"name": name, "parameters": given}, ensure_ascii=False) for name, given in calls]
    return "\n".join([_THINK_CALL, "<tool_call>", *lines, "</tool_call>"])


def right_answer(row: Row) -> str:
    """Return one right answer to a row that was made here."""
    truth: str = row["reward_model"]["ground_truth"]
    return json.loads(truth)["answer"] if row["data_source"].startswith("bfcl_") else truth
