"""The advantage estimator `rest`: A'_t = w_t * A_t, with A the advantages of any other estimator.

For w >= 0 this equals weighting the clipped surrogate: max(-w A r, -w A clip(r)) = w max(-A r, -A clip(r)).
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, register_adv_est

from rest_verl.core.regions import Mask


def reshape_advantages(
    advantages: Float[Tensor, "*any"], token_weights: Float[Tensor, "*any"]
) -> Float[Tensor, "*any"]:
    """Weight advantages token by token; weights are >= 0. Where the weight is 0, as in all masked tokens, so is the
    result, even if the advantage is not finite."""
    weighted = advantages * token_weights
    return weighted if bool(weighted.sum().isfinite()) else weighted.where(token_weights > 0, 0.0)


@register_adv_est("rest")
def compute_rest_advantage(
    token_level_rewards: Float[Tensor, "batch token"],
    response_mask: Mask,
    token_weights: Float[Tensor, "batch token"] | None = None,
    base_estimator: str = "grpo",
    **estimator_arguments: Any,
) -> tuple[Float[Tensor, "batch token"], Float[Tensor, "batch token"]]:
    """Reshaped advantages of a base estimator, for callers that hold the token weights.

    verl's own trainers hold none: their `rest_*` modes run the base estimator, with everything that verl does for it,
    and reshape its advantages afterwards (`rest_verl.plugin.trainer`). Reaching this function from a trainer therefore
    means that the seam is missing.

    Args:
        token_level_rewards: reward of each token.
        response_mask: 1 where the policy generated the token.
        token_weights: >= 0.
        base_estimator: name of a registered estimator.
        estimator_arguments: what else the base estimator takes.

    Returns:
        advantages: weighted.
        returns: unweighted: they are a critic's target, not a gradient's scale.
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
