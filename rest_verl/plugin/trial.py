"""A scheme and a curriculum tried on a small batch before Ray starts: a mistake in them would end the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from rest_verl.common.errors import raised
from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.schemes import get_scheme
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

_STEPS = 10  # of the run that is tried


def try_scheme(rest: RestConfig) -> None:
    """Weigh a batch of two rows that has every region, at the first and the last step of a run.

    Raises:
        ConfigError: the scheme or the curriculum fails, or gives no weights.
    """
    weighting = TokenWeighting(rest, _STEPS)
    for step in (1, _STEPS):
        batch, failure = _batch(step, weighting.needs_entropy), None
        try:
            weighting(batch)
        except Exception as error:  # a scheme is user code and can fail in any way
            failure = f"fails on a small batch: {raised(error)}"
        if (fault := _result_fault(batch, rest) or failure) is not None:
            raise ConfigError(f"rest.scheme={rest.scheme} {fault}")


def _result_fault(batch: StepBatch, rest: RestConfig) -> str | None:
    """What is wrong with what a scheme returns for a batch that the weighting has filled; None if nothing is."""
    shape = tuple(batch.regions.shape)
    try:
        given = get_scheme(rest.scheme).weigh(batch, rest)
    except Exception:  # told by the weighting
        return None
    if not isinstance(given, Tensor):
        return f"returns {type(given).__name__}: return a float tensor of the shape of batch.regions"
    if given.shape != shape or not given.is_floating_point():
        kind = f"{given.dtype} of shape {tuple(given.shape)}"
        return f"returns a tensor of {kind} for a batch of shape {shape}: return floats of the shape of batch.regions"
    return None


def _batch(step: int, with_entropy: bool) -> StepBatch:
    """Two rows, the second one token shorter and without a call, as a step's data are before the weighting."""
    regions = torch.tensor([[region.value for region in Region], [Region.THINK.value] * len(Region)], dtype=torch.int8)
    mask = torch.ones(regions.shape, dtype=torch.int64)
    mask[1, -1] = 0
    entropy = torch.linspace(0.0, 2.0, regions.numel()).reshape(regions.shape) if with_entropy else None
    return StepBatch(
        step=step,
        tagged=TaggedBatch(regions, mask),
        entropy=entropy,
        responses=torch.arange(regions.numel()).reshape(regions.shape),
        generated=mask,
        lengths=mask.sum(dim=1),
        extra_fields=({}, {}),
    )
