"""Schemes: rules for the weight of a token, from its region, the measured entropy and the progress of training.

A scheme is one function from a batch and the run's settings to the weights before normalisation. Register your own
with `register_scheme` (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rest_verl.common.names import Registry
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

Weigh = Callable[[StepBatch, RestConfig], Float[Tensor, "batch token"]]


@dataclass(frozen=True)
class Scheme:
    """A registered scheme.

    Attributes:
        weigh: function from a batch and the settings to weights >= 0; values where the mask is 0 are ignored.
        measures_entropy: whether it reads the batch's variances, which need the entropy that verl's trainer computes.
        reads: the `SCHEME_SETTINGS` that it reads; setting any other one in a run of this scheme is an error.
    """

    weigh: Weigh
    measures_entropy: bool
    reads: frozenset[str]


_SCHEMES: Registry[Scheme] = Registry("scheme", {})

# Settings that only some schemes read.
SCHEME_SETTINGS = frozenset({"weights", "clamp_min", "clamp_max", "alpha", "eps", "decay", "targets", "curriculum"})


def register_scheme(
    name: str, measures_entropy: bool = False, reads: frozenset[str] = SCHEME_SETTINGS
) -> Callable[[Weigh], Weigh]:
    """Decorator that registers the function of a scheme; see `Scheme` for the arguments. ValueError if the name is
    taken."""
    _SCHEMES.check_free(name)

    def register(weigh: Weigh) -> Weigh:
        _SCHEMES.add(name, Scheme(weigh, measures_entropy, reads))
        return weigh

    return register


def get_scheme(name: str) -> Scheme:
    """Return a scheme; the ValueError for an unknown name lists the closest and all known names."""
    return _SCHEMES.get(name)


def scheme_names() -> list[str]:
    """Names of all registered schemes."""
    return _SCHEMES.names()


@register_scheme("uniform", reads=frozenset())
def uniform(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = 1: the base estimator."""
    return torch.ones(batch.regions.shape)


@register_scheme("paper", reads=frozenset({"weights", "clamp_min", "clamp_max"}))
def paper(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = weight of the token's region at this step, as in the authors' released run."""
    return per_region(batch.regions, paper_weights(settings, batch.step))


def paper_weights(settings: RestConfig, step: int) -> dict[Region, float]:
    """Return the weight of each region in scheme `paper` at a global step."""
    weights = scheduled_weights(settings.weights.schedules(), step)
    low, high = settings.clamp_min, settings.clamp_max
    return {region: min(max(weight, low), high) if weight > 0 else 0.0 for region, weight in weights.items()}


_ENTROPY_SETTINGS = frozenset({"clamp_min", "clamp_max", "alpha", "eps", "decay", "targets", "curriculum"})


@register_scheme("entropy", measures_entropy=True, reads=_ENTROPY_SETTINGS)
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
