"""Policy losses in which weighted advantages mean weighted tokens.

With `rest.apply_in=advantage` a loss gets w_t A_t instead of A_t. That weights the gradient of token t by w_t where
the loss of a token is proportional to its own advantage for w_t >= 0, and nothing else depends on the advantages. Each
of verl's losses is tried by tests/faults/test_policy_losses.py.
"""

from __future__ import annotations

from collections.abc import Collection

from rest_verl.common.names import unknown_name

# `bypass_mode`, which verl sets itself, is `vanilla` or REINFORCE.
KEEPS_WEIGHTS = ("vanilla", "bypass_mode", "cispo", "dppo_kl", "dppo_tv", "gpg", "gspo", "sapo")

# Why the others do not.
LOSES_WEIGHTS = {
    "clip_cov": "chooses the tokens that it leaves out by their advantages, and weights change the choice",
    "dro": "adds a penalty to each token's loss, which the weights do not reach",
    "geo_mean": "takes the mean of the advantages over a row, in which the weights cancel",
    "kl_cov": "chooses the tokens that it penalises by their advantages, and the weights do not reach the penalty",
}


def why_not(loss: str, own: Collection[str]) -> str | None:
    """Why weighted advantages would not be weighted tokens under a policy loss, as the end of a sentence that begins
    with its name; None if they are.

    Args:
        loss: name of the loss.
        own: names of the user's own losses that keep the weights (`rest.own_losses`).
    """
    if loss in KEEPS_WEIGHTS or loss in own:
        return None
    if loss in LOSES_WEIGHTS:
        return LOSES_WEIGHTS[loss]
    return (
        f"is not known to keep the weights ({unknown_name('loss', loss, KEEPS_WEIGHTS)}). If the loss is your own and "
        f"each token's part is proportional to its own advantage, add rest.own_losses=[{loss}]"
    )
