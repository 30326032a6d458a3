"""Advantages by the components of the reward (`core.components`): rest.base_estimator=gdpo and rest.credit_matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from jaxtyping import Bool, Float
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from rest_verl.core.components import normalised_components, routed_advantages
from rest_verl.core.regions import Region, numbered
from rest_verl.weighting.step_batch import StepBatch, last_rows

DEFAULT = ("correctness", "format")  # of `rest.reward`


@dataclass(frozen=True)
class Components:
    """The components of a run.

    Attributes:
        names: of the reward's parts, as the reward manager or a reward function returns them.
        weights: of each.
        matrix: the regions that a component reaches, for those that do not reach all.
        by_std: `algorithm.norm_adv_by_std_in_grpo`.
    """

    names: Sequence[str]
    weights: Sequence[float]
    matrix: Mapping[str, Sequence[str]]
    by_std: bool

    def advantages(self, batch: StepBatch) -> Float[Tensor, "batch token"]:
        """The advantage of each trained token of a batch, 0 for all others.

        Args:
            batch: a batch with `keys` and `extra_fields`.

        Raises:
            ValueError: a trajectory has no such component.
        """
        last = last_rows(batch.keys)
        # In double precision: in single, what rounding leaves of equal components is divided by 1e-6, and whitening
        # makes advantages of about 1 of it in a batch without differences.
        values = torch.tensor([self._values(batch.extra_fields[row]) for row in last.values()], dtype=torch.float64)
        groups = numbered([uid for uid, _ in last])
        found = normalised_components(values, groups, self.weights, self.by_std)
        rows = found[numbered(batch.trajectories)]
        return routed_advantages(rows, batch.regions, batch.response_mask, self.reach).float()

    @classmethod
    def of_run(cls, config: DictConfig) -> Components:
        """Those of a run's config: verl's `algorithm.gdpo_reward_keys` and `gdpo_reward_weights`."""
        names = OmegaConf.select(config, "algorithm.gdpo_reward_keys") or DEFAULT
        weights = OmegaConf.select(config, "algorithm.gdpo_reward_weights") or [1.0] * len(names)
        matrix = OmegaConf.select(config, "rest.credit_matrix") or {}
        by_std = OmegaConf.select(config, "algorithm.norm_adv_by_std_in_grpo", default=True)
        return cls([*names], [*weights], {str(name): [*regions] for name, regions in matrix.items()}, bool(by_std))

    @property
    def reach(self) -> Bool[Tensor, "component region"]:
        """Whether a component reaches a region."""
        everywhere = [region.label for region in Region]
        return torch.tensor(
            [[region.label in self.matrix.get(name, everywhere) for region in Region] for name in self.names]
        )

    def _values(self, extra_fields: Mapping[str, Any]) -> list[float]:
        found = extra_fields.get("reward_extra_info") or {}
        for name in self.names:
            if not isinstance(found.get(name), Real):
                numbers = sorted(key for key, value in found.items() if isinstance(value, Real))
                raise ValueError(
                    f"algorithm.gdpo_reward_keys names {name!r}, but the reward of a trajectory has "
                    f"{', '.join(numbers) or 'no components'}: name components that all rows have"
                )
        return [float(found[name]) for name in self.names]
