"""The weighting of a run: one function from regions, entropy and step to token weights, built from the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float, Float32
from torch import Tensor

from rest_verl.config.rest import RestConfig
from rest_verl.core.curriculum import Progress, get_curriculum, position
from rest_verl.core.entropy import RegionAverages, average, filled, finite, token_variance
from rest_verl.core.signal import SignalAverages
from rest_verl.core.weights import BatchScale, bound, normalise_positive, normalise_rows
from rest_verl.weighting.metrics import by_region
from rest_verl.weighting.rows import finite_rows
from rest_verl.weighting.schemes import Need, Weighed, get_scheme, paper_weights
from rest_verl.weighting.step_batch import StepBatch

_OF_ONE_BATCH = {  # `batch` is not among them: it has a state
    "row": normalise_rows,
    "positive": normalise_positive,
    "none": lambda weights, response_mask: weights,
}


# What each need is called in messages. `signal` and `states` imply others.
MEANINGS: Mapping[Need, str] = {
    "entropy": "the policy's entropy",
    "old_log_prob": "the log-probabilities of the old policy",
    "rollout_log_prob": "the log-probabilities of the rollout",
    "advantages": "the advantages",
    "rows": "what is known of its rows",
    "malformed": "the tokens of malformed calls",
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
        self._signal = SignalAverages(config.decay, config.wiener.min_trajectories, config.wiener.min_squares)
        self._scale = BatchScale(config.decay)

    def __call__(self, batch: StepBatch) -> Float32[Tensor, "batch token"]:
        """Weight of every token.

        Args:
            batch: a batch, with the fields that the scheme needs. With `sum_pi_squared`, V is exact instead of bounded
                by the entropy. Where a number is not finite, the scheme sees the average of the region, or of the
                group for a score. This call fills `variance`, `region_variance`, `region_entropy`, `region_signal`,
                `lam`, `progress`, `weights` and `token_credit`.

        Returns:
            weights in [`rest.floor`, `rest.cap`], and 0 where the mask is 0.

        Raises:
            ValueError: the batch lacks what the scheme needs; the curriculum left [0, 1]; a weight is negative or not
                finite, or a credit is not finite.
        """
        held: Mapping[Need, object] = {
            "entropy": batch.entropy if batch.entropy_sums is None else batch.entropy_sums,
            "old_log_prob": batch.old_log_prob,
            "rollout_log_prob": batch.rollout_log_prob,
            "advantages": batch.advantages,
            "rows": batch.rows or None,
            "malformed": batch.malformed,
        }
        for need, meaning in MEANINGS.items():
            if need in self._scheme.needs and held[need] is None:
                raise ValueError(f"rest.scheme={self._config.scheme} needs {meaning}, and the batch has none")
        if self.needs_entropy:
            self._measure(batch)
        batch.lam, batch.progress = self.lam(batch.step), batch.step / max(self._total_steps, 1)
        self._signal.begin(batch.step)
        batch.region_signal = self._signal.before
        weights, batch.token_credit = self._weigh(batch)
        if "signal" in self._scheme.needs:
            self._take_signal(batch)
        if self._config.normalisation == "batch":
            normalised = self._scale(batch.step, weights, batch.response_mask)
        else:
            normalised = _OF_ONE_BATCH[self._config.normalisation](weights, batch.response_mask)
        cap = math.inf if self._config.cap is None else self._config.cap
        batch.weights = bound(normalised, batch.response_mask, self._config.floor, cap)
        return batch.weights

    def _weigh(self, batch: StepBatch) -> tuple[Float32[Tensor, "batch token"], Float32[Tensor, "batch token"] | None]:
        """Weights before normalisation and credit of a batch, checked, and 0 where the mask is 0."""
        name = self._config.scheme
        found = self.given(batch)
        given, credit = found if isinstance(found, Weighed) else (found, None)
        if (credit is not None) != self._scheme.gives_credit:
            did, remedy = ("gave", "with") if credit is not None else ("gave no", "without")
            raise ValueError(f"rest.scheme={name} {did} credit: register it {remedy} gives_credit=True")
        weights = given.masked_fill(~batch.tagged.generated, 0.0)
        if weights.numel() and not (weights.amin() >= 0 and weights.amax() < math.inf):
            raise ValueError(
                f"rest.scheme={name} gave a weight that is negative or not finite at step {batch.step}: weights are "
                f"at least 0. {self._remedy()}"
            )
        if credit is None:
            return weights, None
        credit = credit.float().masked_fill(~batch.tagged.generated, 0.0)
        if not bool(credit.isfinite().all()):
            raise ValueError(
                f"rest.scheme={name} gave a credit that is not finite at step {batch.step}. {self._remedy()}"
            )
        return weights, credit

    def _remedy(self) -> str:
        return (
            f"Bring the settings that it reads ({', '.join(sorted(self._scheme.reads)) or 'none'}) nearer to their "
            "defaults, or mend the scheme if it is your own"
        )

    def given(self, batch: StepBatch) -> Any:
        """What the scheme returns for a batch that has all but the results of the weighting: weights or `Weighed`, but
        a scheme of the user's own may return anything."""
        return self._scheme.weigh(self._seen(batch), self._config)

    def _seen(self, batch: StepBatch) -> StepBatch:
        """A batch as the scheme sees it: with finite numbers, and without what the scheme does not need."""
        needs, tagged = self._scheme.needs, batch.tagged

        def numbers(
            need: Need, values: Float[Tensor, "batch token"] | None, averages: Mapping | None = None
        ) -> Float[Tensor, "batch token"] | None:
            return finite(values, tagged, averages) if need in needs and values is not None else None

        return replace(
            batch,
            entropy=numbers("entropy", batch.entropy, batch.region_entropy),
            entropy_sums=None,
            variance_sums=None,
            runs=None,
            trained=None,
            flat={},
            old_log_prob=numbers("old_log_prob", batch.old_log_prob),
            rollout_log_prob=numbers("rollout_log_prob", batch.rollout_log_prob),
            advantages=numbers("advantages", batch.advantages),
            rows=finite_rows(batch.rows) if "rows" in needs else (),
            malformed=batch.malformed if "malformed" in needs else None,
            region_signal=batch.region_signal if "signal" in needs else {},
        )

    def _measure(self, batch: StepBatch) -> None:
        """Fill the averages of a batch and its variances, and take it into the averages."""
        variance = None
        if batch.entropy is not None:
            variance = token_variance(batch.entropy, batch.sum_pi_squared)
            batch.entropy_sums, batch.variance_sums = (batch.tagged.sums(of) for of in (batch.entropy, variance))
        assert batch.entropy_sums is not None and batch.variance_sums is not None
        self._averages.update(batch.step, batch.entropy_sums, batch.variance_sums)
        batch.region_variance = self._averages.variance_of_all(batch.tagged)
        batch.region_entropy = self._averages.entropy_of_all(batch.tagged)
        if variance is not None:
            batch.variance = filled(variance, batch.tagged, batch.region_variance)

    def _take_signal(self, batch: StepBatch) -> None:
        """Take a weighed batch into the averages of the steps to come."""
        assert batch.old_log_prob is not None and batch.entropy is not None and batch.advantages is not None
        self._signal.present.add(batch.tagged, batch.trajectories, batch.old_log_prob, batch.entropy, batch.advantages)

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
    def needs(self) -> frozenset[Need]:
        """What a batch must have."""
        return self._scheme.needs

    @property
    def needs_entropy(self) -> bool:
        """Whether a batch must have the policy's entropy."""
        return self._scheme.measures_entropy

    @property
    def by_region(self) -> bool:
        """Whether a batch may have runs of tokens in place of tokens."""
        return self._scheme.by_region

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
        `rest/curriculum` in schemes with a curriculum, `rest/variance/<region>` where entropy is measured, and
        `rest/signal/<region>` in schemes that need the signal."""
        metrics: dict[str, float] = {}
        if "weights" in self._scheme.reads:
            metrics |= by_region("rest/schedule", paper_weights(self._config, step))
        if self.reads_curriculum:
            metrics["rest/curriculum"] = self.lam(step)
        if "signal" in self._scheme.needs:
            metrics |= by_region("rest/signal", self._signal.before)
        return metrics | by_region("rest/variance", self._averages.variance)

    def state(self) -> dict[str, object]:
        """What was measured, as JSON values, for `restore`."""
        return self._averages.state() | {"mean_weight": self._scale.latest(), "signal": self._signal.state()}

    def restore(self, state: Mapping) -> None:
        """Continue from the `state` of an earlier run; ValueError if it holds what is no average, KeyError if it lacks
        one."""
        mean = state["mean_weight"]
        if mean is not None and average("mean_weight", mean) == 0.0:
            raise ValueError("the average mean_weight is 0: a batch without weights is in no average")
        self._signal.restore(state["signal"])
        self._averages.restore(state)
        self._scale = BatchScale(self._config.decay, mean)
