"""The policy loss `rest`: verl's clipped surrogate, each token multiplied by its weight after clipping.

L = agg_t( w_t * max(-A_t r_t, -A_t clip(r_t)) ), with dual clip as in verl's `vanilla`. The weights arrive in verl's
own per-token channel `rollout_is_weights`, times any rollout-correction weights that were there.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla, register_policy_loss

from rest_verl.core.regions import Mask


@register_policy_loss("rest")
def compute_policy_loss_rest(
    old_log_prob: Float[Tensor, "batch token"],
    log_prob: Float[Tensor, "batch token"],
    advantages: Float[Tensor, "batch token"],
    response_mask: Mask,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Float[Tensor, "batch token"] | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Any]]:
    """Weighted clipped surrogate.

    Args:
        old_log_prob, log_prob: log-probabilities of the sampled tokens, in nats.
        advantages: of each token.
        response_mask: 1 where the policy generated the token.
        loss_agg_mode: one of verl's modes.
        config: verl's ActorConfig.
        rollout_is_weights: the token weights, >= 0.

    Returns:
        the loss and its metrics: verl's own, and how much of the weight (instead of how many of the tokens)
        the clipping touches and the divergence moves.

    Raises:
        RuntimeError: the weights are missing.
    """
    if rollout_is_weights is None:
        raise RuntimeError(
            "actor_rollout_ref.actor.policy_loss.loss_mode=rest got no token weights. Set rest.apply_in=loss with "
            "algorithm.adv_estimator=rest and trainer.v1.trainer_mode=rest_sync (or another rest mode), or "
            "loss_mode=vanilla with rest.apply_in=advantage"
        )
    loss, metrics = compute_policy_loss_vanilla(
        old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, config, rollout_is_weights
    )
    with torch.no_grad():
        log_ratio = (log_prob - old_log_prob).clamp(-20.0, 20.0)
        measured = response_mask.bool() & log_ratio.isfinite() & rollout_is_weights.isfinite()
        weights, log_ratio = rollout_is_weights.where(measured, 0.0), log_ratio.where(measured, 0.0)
        total = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
        ratio = log_ratio.exp()
        low = config.clip_ratio if config.clip_ratio_low is None else config.clip_ratio_low
        high = config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
        # The gradient is cut where the ratio has left the interval in the direction the advantage pulls.
        clipped = torch.where(advantages > 0, ratio > 1 + high, (advantages < 0) & (ratio < 1 - low))
        metrics["actor/rest/pg_clipfrac"] = float((weights * clipped).sum() / total)
        metrics["actor/rest/ppo_kl"] = float(-(weights * log_ratio).sum() / total)
    return loss, metrics
