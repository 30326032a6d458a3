"""A scheme and a curriculum tried on a small batch before Ray starts: a mistake in them would end the first step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rest_verl.common.errors import raised
from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.schemes import Weighed
from rest_verl.weighting.step_batch import Row, RowKey, StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

_STEPS = 10  # of the run that is tried


def try_scheme(rest: RestConfig) -> None:
    """Weigh a batch of two rows that has every region and all that a scheme may need, at the first and the last step
    of a run.

    Raises:
        ConfigError: the scheme or the curriculum fails, or gives no weights.
    """
    weighting = TokenWeighting(rest, _STEPS)
    for step in (1, _STEPS):
        batch, failure = _batch(step), None
        try:
            weighting(batch)
        except Exception as error:  # a scheme is user code and can fail in any way
            failure = f"fails on a small batch: {raised(error)}"
        if (fault := _result_fault(batch, weighting) or failure) is not None:
            raise ConfigError(f"rest.scheme={rest.scheme} {fault}")


def _result_fault(batch: StepBatch, weighting: TokenWeighting) -> str | None:
    """What is wrong with what a scheme returns for a batch that the weighting has filled; None if nothing is."""
    try:
        given = weighting.given(batch)
    except Exception:  # told by the weighting
        return None
    for name, values in given._asdict().items() if isinstance(given, Weighed) else [("", given)]:
        if (fault := _tensor_fault(values, tuple(batch.regions.shape), name)) is not None:
            return fault
    return None


def _tensor_fault(values: Any, shape: tuple[int, ...], name: str) -> str | None:
    """What is wrong with a result of a scheme, or with the part of it that has a name; None if nothing is."""
    part = f" as {name}" if name else ""
    if not isinstance(values, Tensor):
        return f"returns {type(values).__name__}{part}: return a float tensor of the shape of batch.regions"
    if values.shape != shape or not values.is_floating_point():
        kind = f"{values.dtype} of shape {tuple(values.shape)}"
        return (
            f"returns a tensor of {kind}{part} for a batch of shape {shape}: return floats of the shape of "
            "batch.regions"
        )
    return None


def _batch(step: int) -> StepBatch:
    """Two rows of one group, the second one token shorter, without a call and without success, as a step's data are
    before the weighting."""
    regions = torch.tensor([[region.value for region in Region], [Region.THINK.value] * len(Region)], dtype=torch.int8)
    mask = torch.ones(regions.shape, dtype=torch.int64)
    mask[1, -1] = 0
    entropy = torch.linspace(0.0, 2.0, regions.numel()).reshape(regions.shape)
    keys = [RowKey("prompt", session, 0) for session in range(2)]
    return StepBatch(
        step=step,
        tagged=TaggedBatch(regions, mask),
        entropy=entropy,
        generated=mask,
        extra_fields=({}, {}),
        advantages=torch.tensor([[1.0], [-1.0]]) * mask,
        keys=keys,
        old_log_prob=-entropy.flip(dims=(1,)),
        rollout_log_prob=-entropy.flip(dims=(1,)),
        rows=[
            Row(key, score, {"acc": score}, (score,), ("start",)) for key, score in zip(keys, (1.0, 0.0), strict=True)
        ],
        malformed=(regions == Region.NAME).to(torch.int8),
    )
