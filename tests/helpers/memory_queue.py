"""A step of verl's trainer with ResT, on a transfer queue in memory (tests/e2e/test_seam_on_cpu.py has verl's own)."""

from collections import defaultdict

import torch
import transfer_queue
from step import run_phases, trainer_of
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verls_config import composed

TEXTS = [
    '<think> I call it. </think>\n<tool_call>\n{"name": "get_time", "parameters": {"city": "Paris"}}\n</tool_call>',
    "<think> I know. </think>\n<response> Noon. </response>",
]
KEYS = ["prompt_0_0", "prompt_1_0"]


class MemoryQueue:
    """verl's transfer queue without its processes: the fields of each row."""

    def __init__(self, monkeypatch):
        self.rows, self.tags = defaultdict(dict), {}
        for name in ("kv_batch_put", "kv_batch_get"):
            monkeypatch.setattr(transfer_queue, name, getattr(self, name))

    def kv_batch_put(self, keys, partition_id, fields, tags=None):
        for name in fields.keys():  # noqa: SIM118  # iterating over it goes along the batch
            values = fields.get(name)
            for key, value in zip(keys, values.unbind() if torch.is_tensor(values) else values.tolist(), strict=True):
                self.rows[key][name] = value
        if tags is not None:
            self.tags.update(zip(keys, tags, strict=True))
        return KVBatchMeta(keys=list(keys), tags=[self.tags[key] for key in keys], partition_id=partition_id)

    def kv_batch_get(self, keys, partition_id, select_fields):
        found = TensorDict({}, batch_size=len(keys))
        for name in [name for name in select_fields if name in self.rows[keys[0]]]:
            values = [self.rows[key][name] for key in keys]
            jagged = torch.is_tensor(values[0])
            found[name] = (
                torch.nested.as_nested_tensor(values, layout=torch.jagged)
                if jagged
                else NonTensorStack.from_list(values)
            )
        return found


def make_trainer(tokenizer, *overrides):
    """verl's trainer as far as ResT has a part in it, with these overrides."""
    return trainer_of(composed("+platform=cpu", *overrides), tokenizer)


def rows_of(tokenizer, texts=TEXTS):
    """The fields of a batch by name, a tensor for each row: what the queue holds when advantages are due.

    The last of the two rows has score 0, the others 1.
    """
    responses = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
    log_probs = [-torch.ones(len(row)) for row in responses]
    scores = [1.0] * (len(texts) - 1) + [0.0]
    return {
        "prompts": [torch.tensor([1, 2]) for _ in responses],
        "responses": responses,
        "response_mask": [torch.ones_like(row) for row in responses],
        "entropy": [torch.linspace(0, 1, len(row)) for row in responses],
        "old_log_probs": log_probs,
        "rollout_log_probs": [row.clone() for row in log_probs],
        "rm_scores": [torch.eye(len(row))[-1] * score for row, score in zip(responses, scores, strict=True)],
    }


def run_step(queue, trainer, rows, step, keys=KEYS, extra_fields=None, tags=None):
    """One step of a trainer on a batch with these rows; its metrics."""
    fields = TensorDict(
        {name: torch.nested.as_nested_tensor(value, layout=torch.jagged) for name, value in rows.items()},
        batch_size=len(keys),
    )
    fields["uid"] = NonTensorStack.from_list([key.partition("_")[0] for key in keys])
    fields["extra_fields"] = NonTensorStack.from_list(
        extra_fields or [{"reward_extra_info": {"acc": 1.0}}] * len(keys)
    )
    queue.rows.clear()
    batch = queue.kv_batch_put(list(keys), "train", fields, tags or [{} for _ in keys])
    trainer.global_steps, trainer.timing_raw = step, {}
    metrics = {}
    run_phases(trainer, batch, metrics)
    return metrics
