"""API-Bank (arXiv 2304.08244) as ToolRL processed it, with the accuracy that ToolRL and ResT publish.

- `acc`, the soft score: 1 where one of the calls that the response writes is the one that is due. It looks at the
  lines of the first `<tool_call>` block up to the first that is no JSON; an object without name or parameters counts
  as the parameters of the right call. So junk beside the right call costs nothing, and the name can be left out.
- `acc_hard`: 1 where the one call of the response, and no other, is the one that is due.

Values are equal as Python has it (true is 1) in the first and as JSON has it in the second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rest_verl.formats.rlla import RLLA
from rest_verl.reward.response import Response
from rest_verl.reward.tool_reward import RewardAtStep
from rest_verl.reward.truth import DueCall, GroundTruth, same_calls


def score_apibank(response: Response, truth: GroundTruth, reward: RewardAtStep) -> dict[str, float]:
    """Score a response (`Scorer.score`)."""
    soft = any(_is_soft_match(written, due) for due in truth.calls for written in _written_calls(response))
    hard = response.parse_ok and same_calls(truth.calls, response.readable)
    return reward(response, truth) | {"acc": float(soft), "acc_hard": float(hard)}


def _written_calls(response: Response) -> Iterator[Any]:
    """What the response writes as calls, in order, up to the first that cannot be read."""
    if response.wire_format is not RLLA:
        for call in response.readable:
            yield {"name": call.name, "parameters": call.arguments}
        return
    for text in response.texts:
        _, _, block = text.decode("utf-8", "replace").partition("<tool_call>")
        for line in block.partition("</tool_call>")[0].strip().split("\n"):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                break


def _is_soft_match(written: Any, due: DueCall) -> bool:
    if not isinstance(written, dict):
        return False
    if "name" in written and "parameters" in written:
        return written["name"] == due.name and written["parameters"] == due.arguments
    return written == due.arguments
