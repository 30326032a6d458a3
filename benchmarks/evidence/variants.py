"""What is compared: GRPO, the presets, and ablations of `paper`, each as Hydra overrides that verl's main takes as
they are.

All of them get the same reward (rules `strict`, the paper's dynamic bounds), so that they differ in the token weights
alone; only `fixed_reward` differs in its reward. The schedules of the paper's run belong to its 105 steps: here they
are compressed to the steps of a study, so that both end at the same weights and bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from hydra import compose, initialize
from omegaconf import DictConfig

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import load
from rest_verl.config.reward import RewardConfig
from rest_verl.core.regions import Region

PAPER_STEPS = 105  # 3,920 rows in batches of 512, 15 epochs
BASELINE = "grpo"
PRESETS = ("paper", "entropy", "entropy_adaptive", "token_low", "token_high")
BOUNDS = [field.name for field in fields(RewardConfig) if field.name.endswith(("_min", "_max"))]


@dataclass(frozen=True)
class Variant:
    """One side of a comparison."""

    name: str
    preset: str  # `+rest=<preset>`
    changes: tuple[str, ...] = ()  # overrides on top of it
    question: str = ""  # what its comparison with `paper` asks; empty for GRPO and the presets
    compress: tuple[str, ...] = ("weights", "reward")  # schedules that run in the study's steps, not the paper's
    reverse: bool = False  # whether the schedules of the weights run backwards


_NO_OTHERS = ("rest.weights.other.start=0", "rest.weights.response.start=0")
_ALL_WEIGH = ("rest.weights.other.start=1.0", "rest.weights.response.start=1.0")
VARIANTS = {
    variant.name: variant
    for variant in (
        # Scheme `uniform` gives every token weight 1 (tests/weighting/test_token_weighting.py): GRPO, with the same
        # reward as the others.
        Variant(BASELINE, "paper", ("rest.scheme=uniform",), compress=("reward",)),
        *(Variant(name, name) for name in PRESETS),
        # The presets also train on the end of sequence, which `paper` does not: here that is no part of the ablation.
        Variant("static", "static", ("rest.floor=0",), question="without its curriculum", compress=("reward",)),
        Variant("reversed", "paper", question="with its curriculum reversed", reverse=True),
        Variant("fixed_reward", "paper", question="without dynamic reward", compress=("weights",)),
        Variant("no_think", "no_think", _NO_OTHERS, question="without a gradient from reasoning"),
        Variant("covered", "paper", _ALL_WEIGH, question="with weight 1 where it has 0"),
        Variant("positive", "paper", ("rest.normalisation=positive",), question="normalised as the authors do"),
    )
}


def overrides(variant: Variant, steps: int) -> list[str]:
    """Hydra overrides of a variant in a run of so many steps."""
    given = [f"+rest={variant.preset}", "rest.reward.rules=strict", *variant.changes]
    settings = load(_compose(given))
    if "weights" in variant.compress and settings.scheme == "paper":
        for region in Region:
            ramp = _compressed(getattr(settings.weights, region.label), steps)
            given += _set(f"rest.weights.{region.label}", _reversed(ramp, steps) if variant.reverse else ramp)
    for name in BOUNDS:
        ramp = getattr(settings.reward, name)
        if "reward" in variant.compress:
            given += _set(f"rest.reward.{name}", _compressed(ramp, steps))
        else:
            given += _set(f"rest.reward.{name}", Ramp(start=ramp.start, slope=0.0))
    return given


def composed(variant: Variant, steps: int) -> DictConfig:
    """The config of a variant, composed without verl: the `rest` node and whatever presets set next to it."""
    return _compose(overrides(variant, steps))


def _compose(given: list[str]) -> DictConfig:
    with initialize(config_path=None, version_base=None):
        return compose(overrides=given)


def _compressed(ramp: Ramp, steps: int) -> Ramp:
    """The ramp of the paper's run in this many steps."""
    return Ramp(start=ramp.start, slope=ramp.slope * PAPER_STEPS / steps, limit=ramp.limit)


def _reversed(ramp: Ramp, steps: int) -> Ramp:
    """A ramp from where another one ends to where it starts."""
    return Ramp(start=ramp.schedule()(steps), slope=-ramp.slope, limit=ramp.start)


def _set(key: str, ramp: Ramp) -> list[str]:
    """Overrides that give a key a ramp; one without a slope needs no limit."""
    moving = [f"{key}.limit={ramp.limit}"] if ramp.slope else []
    return [f"{key}.start={ramp.start}", f"{key}.slope={ramp.slope}", *moving]
