"""Trajectories that acted on an environment (`rollout.environment`): it has judged what they did there."""

from __future__ import annotations

from collections.abc import Mapping

from rest_verl.reward.response import Response
from rest_verl.reward.tool_reward import RewardAtStep


def score_environment(response: Response, judged: Mapping[str, float], reward: RewardAtStep) -> dict[str, float]:
    """Score a trajectory.

    Args:
        response: the turns that the policy generated.
        judged: what `Environment.score` returned: `score` is the share of the correctness reward, `acc` is reported as
            it is, and each further number is logged.
        reward: the reward of the run.

    Raises:
        ValueError: `score` is missing or not in [0, 1].
    """
    share = judged.get("score")
    if share is None or not 0 <= share <= 1:
        raise ValueError(f"the environment's score() returned {dict(judged)}: 'score' must be a number in [0, 1]")
    further = {key: float(value) for key, value in judged.items() if key != "score"}
    return reward.of_share(response, float(share)) | {"share": float(share)} | further
