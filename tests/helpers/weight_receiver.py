"""A rollout's side of a weight transfer, in a module that a spawned process can import."""

import asyncio


def receive(arguments, results):
    """Receive the weights of each transfer that `arguments` names, and put them into `results` as plain values."""
    from rest_verl.cpu.gloo_weights import GlooCheckpointEngine

    engine = GlooCheckpointEngine(bucket_size=1)

    async def collect():
        # a tensor would travel as a handle to memory of a process that ends
        return [(name, str(w.dtype), w.float().tolist()) async for name, w in engine.receive_weights()]

    for meeting in iter(arguments.get, None):
        engine.prepare()
        engine.init_process_group(**meeting)
        results.put((meeting["rank"], asyncio.run(collect())))
        engine.finalize()
