"""What is compared with what on verl's real trainer: runs by name, and pairs of runs with what must hold of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VANILLA = "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"
ADVANTAGE = ("rest.apply_in=advantage", VANILLA)
UNIFORM = ("+rest=paper", "rest.scheme=uniform")
ACTOR, ALGORITHM = "actor_rollout_ref.actor", "algorithm"
# Weights in 32 bits: sums in another order differ by rounding, and Adam's first steps carry the sign of gradients that
# are nearly zero into the weights at full size.
TOLERANCE = 2e-3


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        overrides: on top of the recipe.
        steps: of training.
        resumed_at: step at which it is ended and started again from its checkpoint, or None.
        plugin: whether verl loads its plugins, this one among them.
    """

    overrides: tuple[str, ...]
    steps: int = 2
    resumed_at: int | None = None
    plugin: bool = True


@dataclass(frozen=True)
class Pair:
    """Two runs whose models must agree.

    Attributes:
        left, right: names of runs.
        bound: largest allowed difference of the parameters, as a share of how far training moved them; 0 for the same
            in every bit.
    """

    left: str
    right: str
    bound: float = 0.0


def _natively(*overrides: str) -> Run:
    return Run(("+rest=grpo", *overrides))


def _uniformly(*overrides: str) -> Run:
    return Run((*UNIFORM, *ADVANTAGE, *overrides))


REFERENCE = "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8"

# In the first update from a rollout all ratios are 1, where the losses have one gradient.
TWICE = f"{ACTOR}.ppo_epochs=2"
LOSS = f"{ACTOR}.policy_loss.loss_mode"
# Settings of verl that ResT sits beside: both runs of a pair get them.
BESIDE = {
    "gspo": (f"{LOSS}=gspo", TWICE),
    # A seed, for which tokens it clips is drawn.
    "clip_cov": (f"{LOSS}=clip_cov", TWICE, f"{ACTOR}.fsdp_config.full_determinism=True"),
    "cispo": (f"{LOSS}=cispo", TWICE),
    "rollout correction": (
        f"{ALGORITHM}.rollout_correction.rollout_is=token",
        f"{ALGORITHM}.rollout_correction.bypass_mode=False",
    ),
    "KL loss": (f"{ACTOR}.use_kl_loss=True", f"{ACTOR}.kl_loss_coef=0.1", REFERENCE),
    "KL in the reward": (f"{ALGORITHM}.use_kl_in_reward=True", REFERENCE),
    "entropy bonus": (f"{ACTOR}.entropy_coeff=0.01",),
}
CRITIC = (
    "critic.model.path=${actor_rollout_ref.model.path}",
    "critic.ppo_micro_batch_size_per_gpu=8",
    "critic.optim.lr=1e-3",
    "critic.fsdp.full_determinism=True",  # a seed: its head starts from random numbers
)
# By name, with what else they need. gdpo, remax and the optimal baselines, which verl's V1 trainer cannot feed, are
# refused by rest_verl/plugin/run_checks.py.
ESTIMATORS: dict[str, tuple[str, ...]] = {"rloo": (), "reinforce_plus_plus_baseline": (), "gae": CRITIC}
MICRO_BATCHES = (1, 2, 4)  # the recipe's is 8

# Nothing of ResT: verl's own GRPO with a function as its reward.
BARE = (
    f"{ALGORITHM}.adv_estimator=grpo",
    f"reward.custom_reward_function.path={Path(__file__).with_name('stock_reward.py')}",
)

RUNS = {
    "verl with the plugin": Run(BARE, 5),
    "verl without the plugin": Run(BARE, 5, plugin=False),
    "grpo": Run(("+rest=grpo",), 5),
    "grpo once more": Run(("+rest=grpo",), 5),
    "uniform in the advantage": Run((*UNIFORM, *ADVANTAGE), 5),
    "uniform in the loss": Run(UNIFORM, 5),
    "paper": Run(("+rest=paper",)),
    "paper in the advantage": Run(("+rest=paper", *ADVANTAGE)),
    "paper, twice on a rollout": Run(("+rest=paper", TWICE)),
    "paper in the advantage, twice on a rollout": Run(("+rest=paper", *ADVANTAGE, TWICE)),
    **{
        f"paper, micro-batches of {size}": Run(
            (
                "+rest=paper",
                f"{ACTOR}.ppo_micro_batch_size_per_gpu={size}",
                f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={size}",
            )
        )
        for size in MICRO_BATCHES
    },
    "paper, dynamic batch size": Run(
        (
            "+rest=paper",
            f"{ACTOR}.use_dynamic_bsz=True",
            f"{ACTOR}.ppo_max_token_len_per_gpu=512",
            "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=True",
            "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=512",
        )
    ),
    "paper, two ranks": Run(("+rest=paper", "trainer.n_gpus_per_node=2")),
    "paper, padding removed": Run(("+rest=paper", "actor_rollout_ref.model.use_remove_padding=True")),
    "adaptive": Run(("+rest=entropy_adaptive",), 12),
    "adaptive, resumed at step 6": Run(("+rest=entropy_adaptive",), 12, resumed_at=6),
    **{f"{name}, stock": _natively(*given) for name, given in BESIDE.items()},
    **{f"{name}, uniform": _uniformly(*given) for name, given in BESIDE.items()},
    **{f"{name}, stock": _natively(f"{ALGORITHM}.adv_estimator={name}", *more) for name, more in ESTIMATORS.items()},
    **{f"{name}, uniform": _uniformly(f"rest.base_estimator={name}", *more) for name, more in ESTIMATORS.items()},
}
PAIRS = [
    Pair("verl without the plugin", "verl with the plugin"),
    Pair("grpo", "grpo once more"),
    Pair("grpo", "uniform in the advantage"),
    Pair("grpo", "uniform in the loss"),
    Pair("adaptive", "adaptive, resumed at step 6"),
    Pair("paper", "paper in the advantage", TOLERANCE),
    Pair("paper, twice on a rollout", "paper in the advantage, twice on a rollout", TOLERANCE),
    *(Pair("paper", f"paper, micro-batches of {size}", TOLERANCE) for size in MICRO_BATCHES),
    Pair("paper", "paper, dynamic batch size", TOLERANCE),
    Pair("paper", "paper, two ranks", TOLERANCE),
    Pair("paper", "paper, padding removed", TOLERANCE),
    *(Pair(f"{name}, stock", f"{name}, uniform") for name in (*ESTIMATORS, *BESIDE)),
]
