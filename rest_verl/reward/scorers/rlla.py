"""Rows whose ground truth is a turn in the rlla format, as in ToolRL's data: the reward as it is set."""

from __future__ import annotations

from rest_verl.reward.response import Response
from rest_verl.reward.tool_reward import RewardAtStep
from rest_verl.reward.truth import GroundTruth


def score_rlla(response: Response, truth: GroundTruth, reward: RewardAtStep) -> dict[str, float]:
    """Score a response (`Scorer.score`)."""
    return reward(response, truth)
