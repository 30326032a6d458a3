"""Weights that go from a trainer's process to a rollout's are the ones that arrive, in every transfer."""

import asyncio
import multiprocessing

import pytest
import torch
from ranks import receive
from tiers import HANG_GUARD

WEIGHTS = {
    "embed": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "half": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16),
    "scalar": torch.tensor(7.0),
    "empty": torch.zeros(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
}


def engine_of(**kwargs):
    from rest_verl.cpu.gloo_weights import GlooCheckpointEngine

    return GlooCheckpointEngine(bucket_size=1, **kwargs)


def test_every_replica_gets_every_weight_in_every_transfer():
    context = multiprocessing.get_context("forkserver")  # which imports verl once for both
    context.set_forkserver_preload(["rest_verl.cpu.gloo_weights"])
    results = context.Queue()
    queues = [context.Queue() for _ in range(2)]
    replicas = [context.Process(target=receive, args=(queue, results), daemon=True) for queue in queues]
    for replica in replicas:
        replica.start()
    sender, idle = engine_of(is_master=True), engine_of()
    try:
        for factor in (1.0, 3.0):
            weights = {name: weight * factor for name, weight in WEIGHTS.items()}
            senders, receivers = sender.build_topology(2, 2, [sender.prepare(), idle.prepare(), None, None])
            for number, queue in enumerate(queues):
                queue.put({name: values[number] for name, values in receivers.items()})
            for number, engine in enumerate((sender, idle)):
                engine.init_process_group(**{name: values[number] for name, values in senders.items()})
            gathered = iter(weights.items())
            asyncio.run(idle.send_weights(gathered))
            assert next(gathered, None) is None, "a rank that sends nothing still gathers"
            asyncio.run(sender.send_weights(iter(weights.items())))
            expected = [(name, str(weight.dtype), weight.float().tolist()) for name, weight in weights.items()]
            got = dict(results.get(timeout=HANG_GUARD) for _ in replicas)
            assert got == {1: expected, 2: expected}
            sender.finalize()
            idle.finalize()
    finally:
        for queue in queues:
            queue.put(None)
        for replica in replicas:
            replica.join(30)
            replica.kill()


def test_receiving_outside_of_a_transfer_is_an_error():
    async def first():
        return await anext(engine_of().receive_weights())

    with pytest.raises(RuntimeError, match="init_process_group"):
        asyncio.run(first())
