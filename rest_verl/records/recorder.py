"""Between the trainer and the writer: choose rows of a batch, copy what a record needs of them, hand it on.

Only this happens while training waits: the table is built and written in the writer's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from rest_verl.records.write import RecordWriter

# From names of fields and indices of rows to these fields of these rows; a field that no stage wrote is left out.
ReadRows = Callable[[list[str], Sequence[int]], TensorDict]
_PER_TOKEN = {"advantages": "advantage", "old_log_probs": "old_log_prob", "rollout_log_probs": "rollout_log_prob"}
_GIB = 1 << 30


@dataclass(frozen=True)
class StepTensors:
    """What the trainer holds of a batch, padded on the right to (B, T).

    Attributes:
        lengths: (B,) int64, tokens of each response.
        responses: (B, T) int64 token ids.
        generated, trained: (B, T), the response mask before and after rollout correction.
        regions: (B, T) int8 of `Region`.
        weights: (B, T) float32.
        entropy: (B, T) float, nats; None where verl computed none.
    """

    lengths: torch.Tensor
    responses: torch.Tensor
    generated: torch.Tensor
    trained: torch.Tensor
    regions: torch.Tensor
    weights: torch.Tensor
    entropy: torch.Tensor | None


class Recorder:
    """Takes a sample of each batch."""

    def __init__(self, rest: RestConfig, tokenizer: Any, total_steps: int):
        """
        Args:
            rest: settings; `dump_dir` is set.
            tokenizer: of the policy.
            total_steps: global steps of the whole run.

        Raises:
            OSError: the folder cannot be written into.
        """
        assert rest.dump_dir is not None
        self._rest, self._total_steps = rest, total_steps
        self._pieces = TokenBytes.from_tokenizer(tokenizer, ends=True)
        self._writer = RecordWriter(Path(rest.dump_dir), rest.dump.every, int(rest.dump.max_gib * _GIB))

    def wants(self, step: int) -> bool:
        """Whether this step is written down."""
        return self._writer.wants(step)

    def take(
        self,
        keys: Sequence[str],
        tags: Sequence[Mapping[str, Any]],
        step: int,
        tensors: StepTensors,
        extra_fields: Sequence[Mapping[str, Any]],
        read: ReadRows,
    ) -> None:
        """Write down a sample of a batch whose advantages have been computed and not yet been weighted.

        Args:
            keys: `<uid>_<session>_<output>` of each row, as verl makes them.
            tags: of each row; what verl has put in to fill the batch is passed over.
            step: global step.
            tensors: of the batch.
            extra_fields: of each row, from agent loop and reward manager.
            read: fetches what else there is of some rows.
        """
        real = [row for row, tag in enumerate(tags) if not tag.get("is_padding", False)]
        scores = [float(row.sum()) for row in read(["rm_scores"], real)["rm_scores"].unbind()]
        outputs = [_output(keys[row], score) for row, score in zip(real, scores, strict=True)]
        picked = pick(outputs, self._rest.dump.trajectories, self._rest.dump.fraction, seed=step)
        chosen = [real[index] for index in picked]
        if not chosen:
            return
        more = read(["prompts", "data_source", *_PER_TOKEN], chosen)
        in_group = group_scores(outputs)
        chosen_outputs = [outputs[index] for index in picked]
        lengths = tensors.lengths[chosen]
        kept = torch.arange(tensors.responses.shape[1]) < lengths.unsqueeze(1)

        def flat(values: torch.Tensor) -> np.ndarray:
            return values[chosen][kept].numpy()

        numbers = {"weight": flat(tensors.weights)}
        if tensors.entropy is not None:
            numbers["entropy"] = flat(tensors.entropy)
        numbers |= {
            name: torch.cat(more[field].unbind()).numpy() for field, name in _PER_TOKEN.items() if field in more
        }
        rows = Rows(
            outputs=chosen_outputs,
            picked=list(picked.values()),
            data_sources=list(more["data_source"]) if "data_source" in more else [None] * len(chosen),
            group_scores=[in_group[one.uid] for one in chosen_outputs],
            extra_fields=[extra_fields[row] for row in chosen],
            prompts=[prompt.numpy() for prompt in more["prompts"].unbind()],
            lengths=lengths.numpy(),
            ids=flat(tensors.responses),
            generated=flat(tensors.generated.bool()),
            trained=flat(tensors.trained.bool()),
            regions=flat(tensors.regions),
            numbers=numbers,
        )
        meta = RecordMeta(
            step=step,
            total_steps=self._total_steps,
            format=self._rest.format,
            scheme=self._rest.scheme,
            apply_in=self._rest.apply_in,
            base_estimator=self._rest.base_estimator,
            trajectories=sum(map(len, in_group.values())),
        )
        self._writer.write(step, partial(build_table, rows, self._pieces, meta))

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.close()


def _output(key: str, score: float) -> Output:
    uid, session, output = key.rsplit("_", 2)
    return Output(uid, int(session), int(output), score)
