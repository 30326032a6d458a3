"""Fields of a step's batch, wherever verl's trainer keeps them: the only place that reads or writes them.

A V1 trainer keeps them in the transfer queue, without padding; the first trainer in one `DataProto` of the driver,
padded. Both are read as nested tensors of the rows' own lengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import transfer_queue as tq
from jaxtyping import Float
from tensordict import NonTensorStack, TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl import DataProto
from verl.workers.utils.padding import response_from_nested, response_to_nested


class BatchFields(Protocol):
    """The fields of one batch.

    Attributes:
        keys: verl's key of each row, `<uid>_<session>_<output>`.
        tags: verl's tags of each row; `is_padding` marks a row that repeats another one.
    """

    @property
    def keys(self) -> Sequence[str]: ...

    @property
    def tags(self) -> Sequence[Mapping[str, Any]]: ...

    def read(self, fields: Sequence[str], rows: Sequence[int] | None = None) -> TensorDict:
        """Fetch fields of the batch, or of some of its rows; fields that no stage wrote are left out.

        Fields of the response are nested tensors, and so are `prompts`. Safe to call from several threads.
        """

    def write(self, fields: Mapping[str, Float[Tensor, "batch token"]]) -> None:
        """Write fields of the response by name, (B, T) each, padded on the right."""


class QueueFields:
    """The fields of a batch in verl's transfer queue.

    Attributes:
        batch: the batch; `write` renews it.
    """

    def __init__(self, batch: KVBatchMeta):
        self.batch = batch
        self.keys, self.tags = batch.keys, batch.tags
        self._mask: Tensor | None = None  # response mask without padding, for the lengths of the responses

    def read(self, fields: Sequence[str], rows: Sequence[int] | None = None) -> TensorDict:
        # The queue's client hands every request to an event loop of its own, from any thread.
        keys = self.keys if rows is None else [self.keys[row] for row in rows]
        found = tq.kv_batch_get(keys=keys, partition_id=self.batch.partition_id, select_fields=list(fields))
        if rows is None and "response_mask" in found:
            self._mask = found["response_mask"]
        if "sum_pi_squared" in found:  # the actor writes it with the prompt
            found["sum_pi_squared"] = response_from_nested(found["sum_pi_squared"], self._lengths_mask())
        return found

    def write(self, fields: Mapping[str, Float[Tensor, "batch token"]]) -> None:
        nested = {name: response_to_nested(values, self._lengths_mask()) for name, values in fields.items()}
        self.batch = tq.kv_batch_put(
            keys=self.keys, partition_id=self.batch.partition_id, fields=TensorDict(nested, batch_size=len(self.keys))
        )

    def _lengths_mask(self) -> Tensor:
        return self._mask if self._mask is not None else self.read(["response_mask"])["response_mask"]


# What the reward loop and our agent loop say of a row: verl's first trainer spreads it over the batch.
_REWARD, _OURS = "reward_extra_info", "rest_"


class ProtoFields:
    """The fields of a batch of verl's first trainer, and those that it keeps beside the batch."""

    def __init__(self, batch: DataProto, beside: Mapping[str, Float[Tensor, "batch token"]]):
        """
        Args:
            batch: its batch; prompts are padded on the left, responses on the right.
            beside: further fields of the response, padded as the batch's.
        """
        self._batch, self._beside = batch, beside
        sessions: Counter[str] = Counter()
        self.keys: list[str] = []
        self.tags: list[dict[str, Any]] = [{}] * len(batch)
        for uid in batch.non_tensor_batch["uid"]:
            self.keys.append(f"{uid}_{sessions[uid]}_0")
            sessions[uid] += 1

    def read(self, fields: Sequence[str], rows: Sequence[int] | None = None) -> TensorDict:
        chosen = list(range(len(self.keys))) if rows is None else list(rows)
        found = TensorDict({}, batch_size=len(chosen))
        for name in fields:
            if name == "extra_fields":
                found[name] = NonTensorStack.from_list([self._extra_of(row) for row in chosen])
            elif name in self._batch.non_tensor_batch:
                found[name] = NonTensorStack.from_list([self._batch.non_tensor_batch[name][row] for row in chosen])
            elif (values := self._beside.get(name, self._batch.batch.get(name))) is not None:
                found[name] = self._nested(name, values, chosen)
        return found

    def write(self, fields: Mapping[str, Float[Tensor, "batch token"]]) -> None:
        width = self._batch.batch["responses"].shape[1]  # that of the longest response that the run allows
        for name, values in fields.items():
            self._batch.batch[name] = torch.nn.functional.pad(values, (0, width - values.shape[1]))

    def _extra_of(self, row: int) -> dict[str, Any]:
        columns = self._batch.non_tensor_batch.items()
        found = {name: column[row] for name, column in columns if name == _REWARD or name.startswith(_OURS)}
        return {name: value for name, value in found.items() if value is not None}

    def _nested(self, name: str, values: Tensor, rows: Sequence[int]) -> Tensor:
        attention = self._batch.batch["attention_mask"].bool()
        prompt = attention.shape[1] - self._batch.batch["responses"].shape[1]
        kept = attention[:, :prompt] if name == "prompts" else attention[:, prompt:]
        return torch.nested.as_nested_tensor([values[row][kept[row]] for row in rows], layout=torch.jagged)
