"""Trajectories that acted on an environment (`rollout.environment`): it has judged what they did there."""

from __future__ import annotations

from collections.abc import Mapping

from rest_verl.reward.response import Response
from rest_verl.reward.tool_reward import RewardAtStep


def score_environment(response: Response, judged: Mapping[str, float], reward: RewardAtStep) -> dict[str, float]:
    """Score a trajectory.

    Args:
        response: the turns that the policy generated.
        judged: what `Environment.score` returned, as the agent loop has checked it: `score` is the share of the
            correctness reward, `acc` is reported as it is, and each further number is logged.
        reward: the reward of the run.
    """
    share = judged["score"]
    further = {key: value for key, value in judged.items() if key != "score"}
    return reward.of_share(response, share) | {"share": share} | further
