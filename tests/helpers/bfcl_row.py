"""What a row of BFCL asks for, and whether its own answer is accepted."""

import json

from format_view import FormatView
from right_answers import right_answer

from rest_verl.bfcl.verdict.checker import check_calls
from rest_verl.formats import get_format


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
