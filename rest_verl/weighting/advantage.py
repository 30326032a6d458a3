"""The advantage estimator `rest`: A'_t = w_t * A_t, with A the advantages of any other estimator.

For w >= 0 this equals weighting the clipped surrogate: max(-w A r, -w A clip(r)) = w max(-A r, -A clip(r)).
"""

from __future__ import annotations

from typing import Any

import torch
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, register_adv_est


def reshape_advantages(advantages: torch.Tensor, token_weights: torch.Tensor) -> torch.Tensor:
    """Weight advantages token by token: (B, T) float times (B, T) float >= 0."""
    return advantages * token_weights


@register_adv_est("rest")
def compute_rest_advantage(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    token_weights: torch.Tensor | None = None,
    base_estimator: str = "grpo",
    **estimator_arguments: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reshaped advantages of a base estimator, for callers that hold the token weights.

    verl's own trainers hold none: their `rest_*` modes run the base estimator, with everything that verl does for it,
    and reshape its advantages afterwards (`rest_verl.plugin.trainer`). Reaching this function from a trainer therefore
    means that the seam is missing.

    Args:
        token_level_rewards: (B, T) float.
        response_mask: (B, T).
        token_weights: (B, T) float >= 0.
        base_estimator: name of a registered estimator.
        estimator_arguments: what else the base estimator takes.

    Returns:
        advantages: (B, T) float.
        returns: (B, T) float, unweighted: they are a critic's target, not a gradient's scale.
    """
    if token_weights is None:
        raise RuntimeError(
            "algorithm.adv_estimator=rest was called without token weights: only a rest trainer mode computes them. "
            "Set trainer.v1.trainer_mode=rest_sync (or rest_colocate_async, rest_separate_async), or mix "
            "rest_verl.plugin.trainer.RestTrainerMixin into your own trainer"
        )
    advantages, returns = get_adv_estimator_fn(base_estimator)(
        token_level_rewards=token_level_rewards, response_mask=response_mask, **estimator_arguments
    )
    return reshape_advantages(advantages, token_weights), returns
