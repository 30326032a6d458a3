"""The weighting of a run: its settings turned into one function from regions and step to token weights."""

from __future__ import annotations

import torch

from rest_verl.config import RestConfig
from rest_verl.core.regions import Region
from rest_verl.core.weights import normalise_rows, region_weights, token_weights


class TokenWeighting:
    """Callable from (regions, mask, step) to weights, for one `RestConfig`."""

    def __init__(self, config: RestConfig):
        self._config = config
        self._schedules = {region: getattr(config.weights, region.name.lower()).schedule() for region in Region}

    def at(self, step: int) -> dict[Region, float]:
        """Weight of each region at a global step, before normalisation."""
        if self._config.scheme == "uniform":
            return dict.fromkeys(Region, 1.0)
        return region_weights(self._schedules, step, self._config.clamp_min, self._config.clamp_max)

    def __call__(self, regions: torch.Tensor, response_mask: torch.Tensor, step: int) -> torch.Tensor:
        """Weight of every token.

        Args:
            regions: (B, T) int8 of `Region`.
            response_mask: (B, T).
            step: global step.

        Returns:
            (B, T) float32, 0 where the mask is 0.
        """
        weights = token_weights(regions, response_mask, self.at(step))
        return normalise_rows(weights, response_mask) if self._config.normalisation == "row" else weights

    def metrics(self, step: int) -> dict[str, float]:
        """The schedule at a step, for the log: `rest/schedule/<region>`."""
        return {f"rest/schedule/{region.name.lower()}": weight for region, weight in self.at(step).items()}
