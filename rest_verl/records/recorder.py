"""Recorder: chooses rows of a batch, copies their data for the records and passes it to the writer.

The writer's thread builds and writes the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from rest_verl.config.rest import RestConfig
from rest_verl.core.tokens import TokenBytes
from rest_verl.records.build import Rows, build_table
from rest_verl.records.sample import Output, group_scores, pick
from rest_verl.records.schema import RecordMeta
from rest_verl.records.trackers import SampleTracker
from rest_verl.records.write import RecordWriter
from rest_verl.weighting.step_batch import RowKey, StepBatch

# Function from names of fields and indices of rows to their values; fields that no stage wrote are left out.
ReadRows = Callable[[list[str], Sequence[int]], TensorDict]
_PER_TOKEN = {"advantages": "advantage", "old_log_probs": "old_log_prob", "rollout_log_probs": "rollout_log_prob"}
_GIB = 1 << 30


class Recorder:
    """Records a sample of each batch."""

    def __init__(self, rest: RestConfig, tokenizer: Any, total_steps: int, tracker: SampleTracker | None = None):
        """
        Args:
            rest: settings, with `dump_dir`.
            tokenizer: tokenizer of the policy.
            total_steps: number of global steps of the whole run.
            tracker: gets each batch's records after they are written; closed with the recorder.

        Raises:
            OSError: the folder cannot be written to.
        """
        assert rest.dump_dir is not None
        self._rest, self._total_steps = rest, total_steps
        self._pieces = TokenBytes.from_tokenizer(tokenizer, ends=True)
        self._tracker = tracker
        then = None if tracker is None else tracker.log
        self._writer = RecordWriter(Path(rest.dump_dir), rest.dump.every, int(rest.dump.max_gib * _GIB), then)

    def wants(self, step: int) -> bool:
        """Whether this step is recorded."""
        return self._writer.wants(step)

    def take(
        self,
        keys: Sequence[str],
        tags: Sequence[Mapping[str, Any]],
        batch: StepBatch,
        read: ReadRows,
    ) -> None:
        """Record a sample of a weighted batch.

        Args:
            keys: verl's key of each row, `<uid>_<session>_<output>`.
            tags: verl's tags of each row; padding rows are skipped.
            batch: the whole batch; `flat` has no `advantage` if those in the queue are without weights.
            read: fetches further fields of some rows.
        """
        assert batch.runs is not None and batch.trained is not None
        real = [row for row, tag in enumerate(tags) if not tag.get("is_padding", False)]
        scores = [float(row.sum()) for row in read(["rm_scores"], real)["rm_scores"].unbind()]
        outputs = [Output(*RowKey.parse(keys[row]), score) for row, score in zip(real, scores, strict=True)]
        picked = pick(outputs, self._rest.dump.trajectories, self._rest.dump.fraction, seed=batch.step)
        chosen = [real[index] for index in picked]
        if not chosen:
            return
        fields = read(["prompts", "responses", "data_source", *_PER_TOKEN], chosen)
        in_group = group_scores(outputs)
        chosen_outputs = [outputs[index] for index in picked]
        runs, trained = batch.runs.rows(chosen), batch.trained.rows(chosen)
        ends = batch.runs.lengths.cumsum(dim=0)[chosen].tolist()
        begins = [end - length for end, length in zip(ends, runs.lengths.tolist(), strict=True)]
        numbers = {name: _array(fields[field].values()) for field, name in _PER_TOKEN.items() if field in fields}
        # the advantages in the queue may be weighted by now: those of the batch replace them
        numbers |= {
            name: _array(torch.cat([values[begin:end] for begin, end in zip(begins, ends, strict=True)]))
            for name, values in batch.flat.items()
        }
        rows = Rows(
            outputs=chosen_outputs,
            picked=list(picked.values()),
            data_sources=list(fields["data_source"]) if "data_source" in fields else [None] * len(chosen),
            group_scores=[in_group[one.uid] for one in chosen_outputs],
            extra_fields=[batch.extra_fields[row] for row in chosen],
            prompts=[prompt.numpy() for prompt in fields["prompts"].unbind()],
            lengths=runs.lengths.numpy(),
            ids=fields["responses"].values().numpy(),
            generated=runs.spread(runs.generated).numpy(),
            trained=trained.spread(trained.generated).numpy(),
            regions=runs.spread(runs.regions).numpy(),
            numbers=numbers,
            events=None if batch.events is None else [batch.events[row] for row in chosen],
        )
        meta = RecordMeta(
            step=batch.step,
            total_steps=self._total_steps,
            format=self._rest.format,
            scheme=self._rest.scheme,
            apply_in=self._rest.apply_in,
            base_estimator=self._rest.base_estimator,
            trajectories=sum(map(len, in_group.values())),
        )
        self._writer.write(batch.step, partial(build_table, rows, self._pieces, meta))

    def close(self) -> None:
        """Wait until pending records are written, and tracked."""
        self._writer.close()
        if self._tracker is not None:
            self._tracker.close()


def _array(values: torch.Tensor) -> np.ndarray:
    """The values for numpy, which has no bf16: an actor that computes in it gives entropies and log-probabilities in
    it too."""
    return (values.float() if values.is_floating_point() else values).numpy()
