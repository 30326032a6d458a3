"""The weighting of a run: one function from regions, entropy and step to token weights, built from the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping

from jaxtyping import Float, Float32
from torch import Tensor

from rest_verl.config.rest import RestConfig
from rest_verl.core.curriculum import Progress, get_curriculum, position
from rest_verl.core.entropy import RegionAverages, average, filled, variance_bound, variance_exact
from rest_verl.core.weights import BatchScale, bound, normalise_positive, normalise_rows
from rest_verl.weighting.metrics import by_region
from rest_verl.weighting.schemes import get_scheme, paper_weights
from rest_verl.weighting.step_batch import StepBatch

_OF_ONE_BATCH = {  # `batch` is not among them: it has a state
    "row": normalise_rows,
    "positive": normalise_positive,
    "none": lambda weights, response_mask: weights,
}


class TokenWeighting:
    """Callable from a batch to its token weights, for one `RestConfig`.

    Entropies and the mean weight are averaged over steps, so an instance has state: checkpoints save `state` and
    `restore` it.
    """

    def __init__(self, config: RestConfig, total_steps: int):
        """
        Args:
            config: settings.
            total_steps: number of global steps of the whole run, for a curriculum with unit=fraction.
        """
        self._config = config
        self._total_steps = total_steps
        self._scheme = get_scheme(config.scheme)
        self._curriculum = get_curriculum(config.curriculum.kind)
        self._averages = RegionAverages(config.decay)
        self._scale = BatchScale(config.decay)

    def __call__(self, batch: StepBatch) -> Float32[Tensor, "batch token"]:
        """Weight of every token.

        Args:
            batch: a batch, with `entropy` if the scheme measures it. With `sum_pi_squared`, V is exact instead of
                bounded by the entropy. Where neither is finite, V is the average of the region. This call fills
                `variance`, `region_variance`, `lam` and `weights`.

        Returns:
            weights in [`rest.floor`, `rest.cap`], and 0 where the mask is 0.

        Raises:
            ValueError: the scheme measures entropy and the batch has none; the curriculum left [0, 1]; a weight is
                negative or not finite.
        """
        name = self._config.scheme
        if self._scheme.measures_entropy:
            if batch.entropy is None:
                raise ValueError(f"rest.scheme={name} needs the policy's entropy, and the batch has none")
            self._measure(batch, batch.entropy)
        batch.lam = self.lam(batch.step)
        weights = self._scheme.weigh(batch, self._config).masked_fill(~batch.tagged.generated, 0.0)
        if weights.numel() and not (weights.amin() >= 0 and weights.amax() < math.inf):
            raise ValueError(
                f"rest.scheme={name} gave a weight that is negative or not finite at step {batch.step}: weights are "
                f"at least 0. Bring the settings that it reads ({', '.join(sorted(self._scheme.reads)) or 'none'}) "
                "nearer to their defaults, or mend the scheme if it is your own"
            )
        if self._config.normalisation == "batch":
            normalised = self._scale(batch.step, weights, batch.response_mask)
        else:
            normalised = _OF_ONE_BATCH[self._config.normalisation](weights, batch.response_mask)
        cap = math.inf if self._config.cap is None else self._config.cap
        batch.weights = bound(normalised, batch.response_mask, self._config.floor, cap)
        return batch.weights

    def _measure(self, batch: StepBatch, entropy: Float[Tensor, "batch token"]) -> None:
        """Fill `variance` and `region_variance` of a batch, and take it into the averages."""
        variance = variance_bound(entropy)
        if batch.sum_pi_squared is not None:
            exact = variance_exact(batch.sum_pi_squared)
            variance = exact.where(exact.isfinite(), variance)
        self._averages.update(batch.step, batch.tagged, entropy, variance)
        batch.region_variance = self._averages.variance_of_all(batch.tagged)
        batch.variance = filled(variance, batch.tagged, batch.region_variance)

    @property
    def settings(self) -> dict[str, str]:
        """What a resumed run must share with the one before it: the settings whose change alters every weight."""
        config = self._config
        return {
            "scheme": config.scheme,
            "weights_from": config.weights_from,
            "normalisation": config.normalisation,
        }

    @property
    def total_steps(self) -> int:
        """Number of global steps of the whole run."""
        return self._total_steps

    @property
    def reads_curriculum(self) -> bool:
        """Whether lam has a part in the weights."""
        return "curriculum" in self._scheme.reads

    def with_total_steps(self, total_steps: int) -> TokenWeighting:
        """This weighting, with what it has measured, in a run of another length."""
        other = TokenWeighting(self._config, total_steps)
        other.restore(self.state())
        return other

    @property
    def needs_entropy(self) -> bool:
        """Whether a batch must have the policy's entropy."""
        return self._scheme.measures_entropy

    def lam(self, step: int) -> float:
        """Value of the curriculum at a global step, given the entropies measured so far."""
        settings = self._config.curriculum
        now = step if settings.unit == "step" else step / max(self._total_steps, 1)
        shape = self._curriculum(
            Progress(
                step=step,
                total_steps=self._total_steps,
                position=position(now, settings.begin, settings.end),
                structure_entropy=self._averages.structure,
                structure_entropy_first=self._averages.structure_first,
            )
        )
        if not 0.0 <= shape <= 1.0:
            raise ValueError(f"rest.curriculum.kind={settings.kind} gave {shape} at step {step}: not in [0, 1]")
        return settings.low + (settings.high - settings.low) * shape

    def metrics(self, step: int) -> dict[str, float]:
        """Metrics of what drives the weights at a step: `rest/schedule/<region>` in schemes that read rest.weights,
        `rest/curriculum` in schemes with a curriculum, and `rest/variance/<region>` where entropy is measured."""
        metrics: dict[str, float] = {}
        if "weights" in self._scheme.reads:
            metrics |= by_region("rest/schedule", paper_weights(self._config, step))
        if self.reads_curriculum:
            metrics["rest/curriculum"] = self.lam(step)
        return metrics | by_region("rest/variance", self._averages.variance)

    def state(self) -> dict[str, object]:
        """What was measured, as JSON values, for `restore`."""
        return self._averages.state() | {"mean_weight": self._scale.latest()}

    def restore(self, state: Mapping) -> None:
        """Continue from the `state` of an earlier run; ValueError if it holds what is no average, KeyError if it lacks
        one."""
        mean = state["mean_weight"]
        if mean is not None and average("mean_weight", mean) == 0.0:
            raise ValueError("the average mean_weight is 0: a batch without weights is in no average")
        self._averages.restore(state)
        self._scale = BatchScale(self._config.decay, mean)
