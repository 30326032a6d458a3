"""Schemes: rules for the weight of a token, from what is known of a batch and the progress of training.

A scheme is one function from a batch and the run's settings to the weights before normalisation, and, if it gives any,
credit that is added to the weighted advantages. Register your own with `register_scheme` (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from rest_verl.common.names import Registry, unknown_name
from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region
from rest_verl.core.weights import (
    blend,
    clamp_positive,
    per_region,
    scheduled_weights,
    structural_weights,
)
from rest_verl.weighting.step_batch import StepBatch

# What a scheme can ask for besides regions, mask, turns, keys, step, progress and lam, which every batch has:
# - entropy: `entropy`, `variance`, `region_variance`, `region_entropy`
# - old_log_prob, rollout_log_prob, advantages, rows, malformed: the field of that name
# - states: `rows` whose environments name their states
# - signal: `region_signal`, and with it entropy, old_log_prob and advantages
Need = Literal["entropy", "old_log_prob", "rollout_log_prob", "advantages", "rows", "malformed", "states", "signal"]
NEEDS: tuple[Need, ...] = get_args(Need)
_IMPLIED: dict[Need, frozenset[Need]] = {
    "signal": frozenset({"entropy", "old_log_prob", "advantages"}),
    "states": frozenset({"rows"}),
}


class Weighed(NamedTuple):
    """What a scheme returns that also gives credit.

    Attributes:
        weights: >= 0, before normalisation.
        credit: of either sign, in the units of the advantages; added to the weighted advantages as it is.
    """

    weights: Float[Tensor, "batch token"]
    credit: Float[Tensor, "batch token"]


Weigh = Callable[[StepBatch, RestConfig], Float[Tensor, "batch token"] | Weighed]


@dataclass(frozen=True)
class Scheme:
    """A registered scheme.

    Attributes:
        weigh: function from a batch and the settings to weights >= 0, or to `Weighed`; values where the mask is 0 are
            ignored.
        needs: what it reads of a batch beyond what every batch has.
        reads: the `SCHEME_SETTINGS` that it reads; setting any other one in a run of this scheme is an error.
        gives_credit: whether it returns `Weighed`, which only rest.apply_in=advantage can apply.
        by_region: whether a weight follows from the region, the row and the batch alone. Such a scheme sees runs of
            tokens in place of tokens (`core.runs`), which costs a fraction.
    """

    weigh: Weigh
    needs: frozenset[Need]
    reads: frozenset[str]
    gives_credit: bool = False
    by_region: bool = False

    @property
    def measures_entropy(self) -> bool:
        """Whether it needs the entropy that verl's trainer computes."""
        return "entropy" in self.needs


# The names of the schemes of that module, which is imported when one of them is asked for.
PUBLISHED = ("gepo", "gigpo", "gtpo", "malformed_penalty", "stare", "top_fifth", "turn_discounted")
_PUBLISHED = "rest_verl.weighting.published"
_SCHEMES: Registry[Scheme] = Registry("scheme", modules=dict.fromkeys(PUBLISHED, _PUBLISHED))

# Settings that only some schemes read.
SCHEME_SETTINGS = frozenset(
    {
        *("weights", "clamp_min", "clamp_max", "alpha", "eps", "decay", "targets", "curriculum"),
        *("gigpo", "gtpo", "malformed_penalty", "stare", "top_fifth", "turn_discounted", "wiener"),
    }
)


def register_scheme(
    name: str,
    measures_entropy: bool = False,
    reads: frozenset[str] = SCHEME_SETTINGS,
    needs: Collection[str] = (),
    gives_credit: bool = False,
    by_region: bool = False,
) -> Callable[[Weigh], Weigh]:
    """Decorator that registers the function of a scheme.

    Args:
        name: its name in `rest.scheme`.
        measures_entropy: the same as "entropy" in `needs`.
        reads, needs, gives_credit, by_region: see `Scheme`.

    Raises:
        ValueError: the name is taken, there is no such need, or a scheme by region needs more than the entropy.
    """
    _SCHEMES.check_free(name)
    for need in needs:
        if need not in NEEDS:
            raise ValueError(f"scheme {name!r}: {unknown_name('need', need, NEEDS)}")
    asked = {need for need in NEEDS if need in needs or (need == "entropy" and measures_entropy)}
    whole = frozenset(asked).union(*(_IMPLIED.get(need, frozenset()) for need in asked))

    if by_region and (more := sorted(whole - {"entropy"})):
        raise ValueError(f"scheme {name!r}: by_region=True has no tokens, but needs has {', '.join(more)}")

    def register(weigh: Weigh) -> Weigh:
        _SCHEMES.add(name, Scheme(weigh, whole, reads, gives_credit, by_region))
        return weigh

    return register


def get_scheme(name: str) -> Scheme:
    """Return a scheme; the ValueError for an unknown name lists the closest and all known names."""
    return _SCHEMES.get(name)


def scheme_names() -> list[str]:
    """Names of all registered schemes."""
    return _SCHEMES.names()


@register_scheme("uniform", reads=frozenset(), by_region=True)
def uniform(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = 1: the base estimator."""
    return torch.ones(batch.regions.shape)


@register_scheme("paper", reads=frozenset({"weights", "clamp_min", "clamp_max"}), by_region=True)
def paper(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = weight of the token's region at this step, as in the authors' released run."""
    return per_region(batch.regions, paper_weights(settings, batch.step))


def paper_weights(settings: RestConfig, step: int) -> dict[Region, float]:
    """Return the weight of each region in scheme `paper` at a global step."""
    weights = scheduled_weights(settings.weights.schedules(), step)
    low, high = settings.clamp_min, settings.clamp_max
    return {region: min(max(weight, low), high) if weight > 0 else 0.0 for region, weight in weights.items()}


_ENTROPY_SETTINGS = frozenset({"clamp_min", "clamp_max", "alpha", "eps", "decay", "targets", "curriculum"})


@register_scheme("entropy", measures_entropy=True, reads=_ENTROPY_SETTINGS, by_region=True)
def entropy(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w_r = s_r^(1 - lam) g_r^lam with s_r from the mean V of the region: the paper's argument, measured."""
    variance = torch.tensor([batch.region_variance.get(region, 0.0) for region in Region])
    targets = torch.tensor([settings.targets.of(region) for region in Region])
    structural = structural_weights(variance, batch.counts, settings.alpha, settings.eps)
    weights = clamp_positive(blend(structural, targets, batch.lam), settings.clamp_min, settings.clamp_max)
    return per_region(batch.regions, dict(zip(Region, weights.tolist(), strict=True)))


@register_scheme("token", measures_entropy=True, reads=_ENTROPY_SETTINGS)
def token(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """Like `entropy`, with the V of each token instead of the mean of its region."""
    assert batch.variance is not None, "TokenWeighting fills variance for every scheme with measures_entropy=True"
    structural = structural_weights(batch.variance, batch.response_mask, settings.alpha, settings.eps)
    targets = per_region(batch.regions, {region: settings.targets.of(region) for region in Region})
    return clamp_positive(blend(structural, targets, batch.lam), settings.clamp_min, settings.clamp_max)


@register_scheme("wiener", needs={"signal"}, reads=frozenset({"decay", "wiener"}))
def wiener(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w_r = b + (1 - b) q_r / (q_r + 1) with q_r = max(t_r^2 - 1, 0), t_r^2 averaged over the steps before this one
    (`core.signal`). Experimental.

    Known before the batch is sampled. A region that was never measured has the mean weight of those that were, and 1
    where there are none.
    """
    base, weights = settings.wiener.base, dict[Region, float]()
    for region, t_squared in batch.region_signal.items():
        ratio = max(t_squared - 1.0, 0.0)
        weights[region] = base + (1.0 - base) * ratio / (ratio + 1.0)
    typical = sum(weights.values()) / len(weights) if weights else 1.0
    return per_region(batch.regions, {region: weights.get(region, typical) for region in Region})
