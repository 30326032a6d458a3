"""A run's weights at one moment of its training, computed by the weighting that training itself uses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rest_verl.commands.preview.assumed import Assumed, batch_of
from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.schemes import get_scheme
from rest_verl.weighting.token_weighting import TokenWeighting

SMALLEST_SHARE = 1e-12  # of the first entropy, for one that has fallen to 0: the first one must be finite


@dataclass(frozen=True)
class Moment:
    """A moment of training.

    Attributes:
        step: global step, from 1.
        total_steps: number of steps of the whole run.
        entropy_left: share of the structure tokens' first entropy that is left, in [0, 1]; curriculum `adaptive`
            follows it.
    """

    step: int
    total_steps: int
    entropy_left: float = 1.0


@dataclass(frozen=True)
class Weights:
    """Weights at a moment.

    Attributes:
        moment: the moment.
        lam: value of the curriculum; None if the scheme reads none.
        before: weight of each region before normalisation. A region without tokens in the assumed rows gets the
            weight of one such token in an additional row.
        after: for each assumed row, the normalised weights of its regions.
    """

    moment: Moment
    lam: float | None
    before: dict[Region, float]
    after: list[dict[Region, float]]


def weigh(rest: RestConfig, assumed: Assumed, moment: Moment) -> Weights:
    """Weigh the assumed rows at a moment.

    Raises:
        ValueError: as `TokenWeighting` does; or the curriculum is adaptive and no row has format or name tokens.
    """
    batch = batch_of(assumed.rows)
    weighting, weights = _weigh_batch(rest, assumed, moment, batch)
    unnormalised = replace(rest, normalisation="none", floor=0.0, cap=None)
    before = batch.means(_weigh_batch(unnormalised, assumed, moment, batch)[1])
    absent = dict.fromkeys([region for region in Region if region not in before], 1)
    if absent:
        wider = batch_of([*assumed.rows, absent])
        means = wider.means(_weigh_batch(unnormalised, assumed, moment, wider)[1])
        before |= {region: means[region] for region in absent}
    return Weights(
        moment=moment,
        lam=weighting.lam(moment.step) if "curriculum" in get_scheme(rest.scheme).reads else None,
        before=before,
        after=[
            TaggedBatch(regions[None], mask[None]).means(row[None])
            for regions, mask, row in zip(batch.regions, batch.response_mask, weights, strict=True)
        ],
    )


def follows_entropy(rest: RestConfig) -> bool:
    """Whether lam follows the measured entropy and not the step."""
    return "curriculum" in get_scheme(rest.scheme).reads and rest.curriculum.kind == "adaptive"


def _weigh_batch(
    rest: RestConfig, assumed: Assumed, moment: Moment, batch: TaggedBatch
) -> tuple[TokenWeighting, torch.Tensor]:
    """The weighting's state at a moment, and its weights of a batch."""
    weighting = TokenWeighting(rest, moment.total_steps)
    if follows_entropy(rest):
        weighting(assumed.step_batch(moment.step, batch))
        state = weighting.state()
        now = state["structure"]
        if not isinstance(now, float):
            raise ValueError("--tokens: curriculum adaptive follows format and name tokens: give a row some of them")
        first = now / max(moment.entropy_left, SMALLEST_SHARE)
        weighting.restore(state | {"structure_first": first, "mean_weight": None})
    return weighting, weighting(assumed.step_batch(moment.step, batch))
