"""The scorer of BFCL's questions about a memory; a ground truth is a JSON list of the accepted values, as text.

`acc` is the leaderboard's verdict: the last answer mentions an accepted value. So an answer that recites the whole
memory is right there. The share of the correctness reward, which training rewards, charges that:

    share = acc * min(1, WORDS / number of words of the last answer)

BFCL asks for "a short and precise answer" and "a brief explanation": WORDS leaves room for both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rest_verl.bfcl.memory.judge import final_message, mentions
from rest_verl.reward.response import Response
from rest_verl.reward.scorers import register_scorer
from rest_verl.reward.tool_reward import RewardAtStep

WORDS = 60


def read_accepted(text: Any) -> list[str]:
    """Read a ground truth (`Scorer.read`); ValueError if it is not a JSON list of texts."""
    try:
        accepted = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        accepted = None
    if not isinstance(accepted, list) or not accepted or not all(isinstance(value, str) for value in accepted):
        raise ValueError(f"ground truth of BFCL's memory: must be a JSON list of accepted texts, got {text!r:.120}")
    return accepted


@register_scorer("bfcl_memory_*", read=read_accepted)
def score_memory(response: Response, accepted: Sequence[str], reward: RewardAtStep) -> dict[str, float]:
    """Score a response (`Scorer.score`)."""
    message = final_message(response) or ""
    right = mentions(message, accepted)
    share = right * min(1.0, WORDS / max(len(message.split()), 1))
    return reward.score_share(response, share) | {"acc": float(right), "share": share}
