"""Fields of a batch in verl's transfer queue: the only place that reads or writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.workers.utils.padding import response_to_nested


def read_fields(batch: KVBatchMeta, fields: Sequence[str], rows: Sequence[int] | None = None) -> TensorDict:
    """Fetch fields of a batch, or of some of its rows; fields that no stage wrote are left out.

    Safe to call from several threads: the queue's client hands every request to an event loop of its own.
    """
    keys = batch.keys if rows is None else [batch.keys[row] for row in rows]
    return tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=list(fields))


def write_fields(
    batch: KVBatchMeta, fields: Mapping[str, torch.Tensor], nested_response_mask: torch.Tensor
) -> KVBatchMeta:
    """Write response fields of a batch, without their padding.

    Args:
        batch: batch in the queue.
        fields: values by name, (B, T) each, padded on the right.
        nested_response_mask: response mask as stored in the queue, for the lengths.
    """
    nested = {name: response_to_nested(values, nested_response_mask) for name, values in fields.items()}
    return tq.kv_batch_put(
        keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(nested, batch_size=len(batch))
    )
