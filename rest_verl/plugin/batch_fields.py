"""Fields of a step's batch, wherever verl's trainer keeps them: the only place that reads or writes them.

A V1 trainer keeps them in the transfer queue, without padding; the first trainer in one `DataProto` of the driver,
padded. Both are read as nested tensors of the rows' own lengths, and written as tokens that lie flat, those of one
response after those of another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import transfer_queue as tq
from jaxtyping import Float, Int64
from tensordict import NonTensorStack, TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl import DataProto
from verl.trainer.ppo.v1 import trainer_base
from verl.workers.utils.padding import response_from_nested

from rest_verl.core.runs import padded


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

    def lengths(self) -> Int64[Tensor, " batch"]:
        """Number of tokens of each response."""

    def write(self, fields: Mapping[str, Float[Tensor, " token"]]) -> None:
        """Write fields of the response by name, with the tokens of all responses in order."""


# Fields that verl's trainer reads as those of the response. Others, such as the entropy, it reads with the prompt.
_OF_RESPONSE = frozenset({"response_mask", "rm_scores", "old_log_probs", "rollout_log_probs", "token_level_rewards"})


class QueueFields:
    """The fields of a batch in verl's transfer queue.

    Attributes:
        batch: the batch; `write` renews it.
    """

    def __init__(self, batch: KVBatchMeta):
        self.batch = batch
        self.keys, self.tags = batch.keys, batch.tags
        self._heard: dict[str, Tensor] = {}  # what verl itself has read or written, as nested tensors
        self._shape: Tensor | None = None  # any field of the response, for the lengths of its rows

    def read(self, fields: Sequence[str], rows: Sequence[int] | None = None) -> TensorDict:
        if rows is not None:
            return self._fetch([self.keys[row] for row in rows], fields)
        heard = {name: self._heard[name] for name in fields if name in self._heard}
        unheard = [name for name in fields if name not in heard]
        if not unheard:
            return TensorDict(heard, batch_size=len(self.keys))
        # The mask always exists: a request for nothing else may fail.
        found = self._fetch(self.keys, [*unheard, "response_mask"] if "response_mask" in heard else unheard)
        if "response_mask" in found:
            self._shape = found["response_mask"]
        if "sum_pi_squared" in found:  # the actor writes it with the prompt
            found["sum_pi_squared"] = response_from_nested(found["sum_pi_squared"], self._any_field())
        return found.update(heard)

    def lengths(self) -> Int64[Tensor, " batch"]:
        if all("response_len" in tag for tag in self.tags):
            return torch.tensor([tag["response_len"] for tag in self.tags], dtype=torch.int64)
        return self._offsets().diff()

    def write(self, fields: Mapping[str, Float[Tensor, " token"]]) -> None:
        nested = TensorDict(self.of_tokens(fields), batch_size=len(self.keys))
        self.batch = tq.kv_batch_put(keys=self.keys, partition_id=self.batch.partition_id, fields=nested)

    @contextmanager
    def overheard(self, added: Callable[[], Mapping[str, Float[Tensor, " token"]]] | None = None) -> Iterator[None]:
        """Keep what verl's trainer reads and writes of this batch while the context lasts: a field that went through
        its hands is not fetched again.

        Args:
            added: gives fields to write together with the advantages, instead of theirs where the names are the same;
                called once those of verl are known.
        """
        names = vars(trainer_base)
        queue = names["tq"]
        names["tq"] = _OverheardQueue(queue, self, added)
        try:
            yield
        finally:
            names["tq"] = queue

    def hear(self, keys: Sequence[str], fields: TensorDict, names: Collection[str]) -> None:
        """Keep some fields of these keys, if they are those of the batch."""
        if list(keys) == list(self.keys):
            found = {name: fields.get(name) for name in names}
            self._heard |= {name: one for name, one in found.items() if torch.is_tensor(one) and one.is_nested}

    def of_tokens(self, fields: Mapping[str, Float[Tensor, " token"]]) -> dict[str, Tensor]:
        """Fields as verl keeps them, nested, from the tokens of all responses in order."""
        offsets = self._offsets()
        return {name: torch.nested.nested_tensor_from_jagged(values, offsets) for name, values in fields.items()}

    def _fetch(self, keys: Sequence[str], fields: Sequence[str]) -> TensorDict:
        # The queue's client hands every request to an event loop of its own, from any thread.
        return tq.kv_batch_get(keys=list(keys), partition_id=self.batch.partition_id, select_fields=list(fields))

    def _offsets(self) -> Int64[Tensor, " batch+1"]:
        """Where the tokens of each response begin and end, where all lie flat."""
        field: Any = self._any_field()  # torch's stubs do not know nested tensors
        return field.offsets()

    def _any_field(self) -> Tensor:
        """A field of the response, for the lengths of its rows."""
        mask = self._heard.get("response_mask", self._shape)
        return self._fetch(self.keys, ["response_mask"])["response_mask"] if mask is None else mask


class _OverheardQueue:
    """What verl's trainer takes for the transfer queue's client while it is overheard."""

    def __init__(
        self,
        queue: Any,
        heard_by: QueueFields,
        added: Callable[[], Mapping[str, Float[Tensor, " token"]]] | None,
    ):
        self._queue, self._by, self._added = queue, heard_by, added

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def kv_batch_get(self, keys: list[str], **asked: Any) -> TensorDict:
        """Read as the queue does."""
        found = self._queue.kv_batch_get(keys=keys, **asked)
        self._by.hear(keys, found, _OF_RESPONSE)
        return found

    def kv_batch_put(self, keys: list[str], fields: TensorDict, **given: Any) -> KVBatchMeta:
        """Write as the queue does, with what is to be added."""
        self._by.hear(keys, fields, set(fields.keys()))
        if self._added is not None and "advantages" in fields:
            fields.update(self._by.of_tokens(self._added()))
            self._by.hear(keys, fields, set(fields.keys()))
        return self._queue.kv_batch_put(keys=keys, fields=fields, **given)


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
        chosen = range(len(self.keys)) if rows is None else rows
        found = TensorDict({}, batch_size=len(chosen))
        for name in fields:
            if name == "extra_fields":
                found[name] = NonTensorStack.from_list([self._extra_of(row) for row in chosen])
            elif name in self._batch.non_tensor_batch:
                found[name] = NonTensorStack.from_list([self._batch.non_tensor_batch[name][row] for row in chosen])
            elif (values := self._beside.get(name, self._batch.batch.get(name))) is not None:
                found[name] = self._nested(name, values, rows)
        return found

    def lengths(self) -> Int64[Tensor, " batch"]:
        return self._batch.batch["attention_mask"][:, -self._width :].sum(dim=-1)

    def write(self, fields: Mapping[str, Float[Tensor, " token"]]) -> None:
        for name, values in fields.items():
            self._batch.batch[name] = padded(values, self.lengths(), self._width)

    @property
    def _width(self) -> int:
        """Length of the longest response that the run allows."""
        return self._batch.batch["responses"].shape[1]

    def _extra_of(self, row: int) -> dict[str, Any]:
        columns = self._batch.non_tensor_batch.items()
        found = {name: column[row] for name, column in columns if name == _REWARD or name.startswith(_OURS)}
        return {name: value for name, value in found.items() if value is not None}

    def _nested(self, name: str, values: Tensor, rows: Sequence[int] | None) -> Tensor:
        attention = self._batch.batch["attention_mask"].bool()
        kept = attention[:, : -self._width] if name == "prompts" else attention[:, -self._width :]
        if rows is not None:
            values, kept = values[[*rows]], kept[[*rows]]
        offsets = torch.nn.functional.pad(kept.sum(dim=-1).cumsum(dim=0), (1, 0))
        return torch.nested.nested_tensor_from_jagged(values[kept], offsets)
