"""Samples of each step in the run's own trackers, next to its metrics.

    wandb                         a table `rest/samples` for each step, whose last column is HTML
    mlflow                        an artifact `rest_samples/step_000012.json` for each step, with the same columns
    tensorboard, swanlab, ...     input, output and score by verl's own logger of validation generations

Samples follow a step's records into a thread of its own: a tracker that is slow costs samples, and one that fails or
hangs costs a warning, but never records or the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rest_verl.common.logs import logger_of
from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.records.cells import COLUMNS, Cells, cells_of
from rest_verl.records.schema import step_name
from rest_verl.records.worker import Worker

logger = logger_of(__name__)

NAME = "rest/samples"
_VERLS = ("swanlab", "tensorboard", "trackio", "clearml")  # those of verl's logger that are not better served here
TRACKERS = ("wandb", "mlflow", *_VERLS)


class SampleTracker:
    """Passes some recorded trajectories of each step on to trackers.

    Attributes:
        rows: most trajectories of a batch.
        max_bytes: most bytes of a batch.
    """

    def __init__(self, backends: Sequence[str], project: str, experiment: str, rows: int, max_bytes: int):
        """
        Args:
            backends: names from TRACKERS, which verl has opened when the first step is logged.
            project, experiment: names of the run, as verl's loggers know it.
            rows, max_bytes: see above.
        """
        self.rows, self.max_bytes = rows, max_bytes
        self._senders: list[tuple[str, Callable[[int, Sequence[Cells]], None]]] = []
        if "wandb" in backends:
            self._senders.append(("wandb", _to_wandb))
        if "mlflow" in backends:
            self._senders.append(("mlflow", _to_mlflow))
        self._senders += [(name, _VerlsLogger(name, project, experiment)) for name in _VERLS if name in backends]
        self._warned: set[str] = set()
        self._worker: Worker[tuple[int, pa.Table]] = Worker("rest_verl trackers", self._send, pending=1)

    def log(self, step: int, table: pa.Table) -> None:
        """Queue a sample of a step's records; returns at once. While a tracker is busy, samples are dropped.

        Args:
            step: global step.
            table: records with the columns of `records.schema`.
        """
        if not self._worker.offer((step, table)):
            self._warn("queue", step, "the trackers are too slow")

    def close(self) -> None:
        """Wait until the last sample is logged, for a limited time."""
        self._worker.close()

    def _send(self, job: tuple[int, pa.Table]) -> None:
        step, table = job
        try:
            cells = sample(table, self.rows, self.max_bytes)
        except Exception as error:  # training continues after any error
            self._warn("cells", step, f"{type(error).__name__}: {error}")
            return
        for name, send in self._senders:
            try:
                send(step, cells)
            except Exception as error:
                self._warn(name, step, f"{name}: {type(error).__name__}: {error}")

    def _warn(self, kind: str, step: int, why: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning(
                "rest.dump.tracked: samples of step %d are not logged (%s). Training continues and later steps are "
                "tried; this warning appears once",
                step,
                why,
            )


def tracker_of(rest: RestConfig, trainer: Mapping[str, Any]) -> SampleTracker | None:
    """The tracker of a run; None without `rest.dump.tracked`.

    Args:
        rest: settings.
        trainer: verl's node `trainer`.

    Raises:
        ConfigError: as `check_trackers`.
    """
    backends = check_trackers(rest, trainer)
    if not backends:
        return None
    project, experiment = str(trainer["project_name"]), str(trainer["experiment_name"])
    return SampleTracker(backends, project, experiment, rest.dump.tracked, 1024 * rest.dump.tracked_kib)


def check_trackers(rest: RestConfig, trainer: Mapping[str, Any]) -> list[str]:
    """The trackers that get samples; empty without `rest.dump.tracked`. Arguments as in `tracker_of`.

    Raises:
        ConfigError: none of the run's loggers takes samples, or verl writes its own under the same names.
    """
    if not rest.dump.tracked:
        return []
    named = trainer["logger"]
    loggers = [named] if isinstance(named, str) else list(named)
    backends = [name for name in TRACKERS if name in loggers]
    if not backends:
        raise ConfigError(
            f"rest.dump.tracked={rest.dump.tracked}: none of trainer.logger={loggers} takes samples; allowed: "
            f"{', '.join(TRACKERS)}. Add one to trainer.logger, or set rest.dump.tracked=0"
        )
    if trainer.get("log_val_generations", 0) > 0 and set(backends) & set(_VERLS):
        raise ConfigError(
            f"rest.dump.tracked={rest.dump.tracked} and trainer.log_val_generations both write val/generations of "
            f"{', '.join(name for name in backends if name in _VERLS)}: set one of them to 0"
        )
    return backends


def sample(table: pa.Table, rows: int, max_bytes: int) -> list[Cells]:
    """The first rows of a step's records, the best and the worst of their groups before others.

    Args:
        table: records with the columns of `records.schema`.
        rows: most rows.
        max_bytes: most bytes of all of them together.
    """
    picked = table.column("picked").to_pylist()
    order = sorted(range(len(picked)), key=lambda row: picked[row] == "sample")[:rows]  # stable
    return [cells_of(row, max_bytes // rows) for row in table.take(sorted(order)).to_pylist()]


def _to_wandb(step: int, cells: Sequence[Cells]) -> None:
    import wandb

    if wandb.run is None:
        return
    rows: list[Iterable[Any]] = [[*one.values()[:-1], wandb.Html(one.tokens, inject=False)] for one in cells]
    # Without a step, and without ending one: verl gives steps, and wandb drops what comes with an earlier one.
    wandb.run.log({NAME: wandb.Table(columns=list(COLUMNS), data=rows)}, commit=False)


def _to_mlflow(step: int, cells: Sequence[Cells]) -> None:
    import json

    from mlflow import MlflowClient
    from mlflow.tracking.fluent import _get_latest_active_run  # an active run is known to its own thread alone

    run = _get_latest_active_run()
    if run is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(step_name(step)).with_suffix(".json")
        path.write_text(json.dumps([dict(zip(COLUMNS, one.values(), strict=True)) for one in cells]))
        MlflowClient().log_artifact(run.info.run_id, str(path), "rest_samples")


class _VerlsLogger:
    """verl's own logger of validation generations, for one tracker."""

    def __init__(self, name: str, project: str, experiment: str):
        from verl.utils.tracking import ValidationGenerationsLogger

        self._name = name
        self._logger = ValidationGenerationsLogger(project_name=project, experiment_name=experiment)

    def __call__(self, step: int, cells: Sequence[Cells]) -> None:
        self._logger.log([self._name], [[one.prompt, one.response, one.score] for one in cells], step)
