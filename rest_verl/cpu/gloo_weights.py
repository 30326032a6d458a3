"""Checkpoint engine `gloo`: transfers weights from trainer to rollout without GPUs, over torch's gloo.

verl's `separate_async` trainer refuses its default engine `naive`, and the others need NCCL, RDMA or an NPU.
`+platform=cpu` names this module in `checkpoint_engine.custom_backend_module`; select it with
`actor_rollout_ref.rollout.checkpoint_engine.backend=gloo`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import ray
import torch
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore
from verl.checkpoint_engine import CheckpointEngine, CheckpointEngineRegistry

TIMEOUT = timedelta(minutes=5)


@dataclass(frozen=True)
class Meeting:
    """Rendezvous of the processes of one transfer.

    Attributes:
        address, port: address and port of the sender's store.
        number: number of the transfer.
    """

    address: str
    port: int
    number: int


@CheckpointEngineRegistry.register("gloo")
class GlooCheckpointEngine(CheckpointEngine):
    """Broadcasts tensors one by one from the trainer's first rank; names and shapes go through a store.

    The trainer's other ranks take part in gathering each weight, but send nothing.
    """

    def __init__(self, bucket_size: int, is_master: bool = False):
        """
        Args:
            bucket_size: bucket size in bytes, which verl passes to every engine; unused, since tensors are sent one
                by one.
            is_master: whether this is the trainer's first rank.
        """
        self._meeting: Meeting | None = None
        self._server: TCPStore | None = None
        if is_master:
            address = ray.util.get_node_ip_address().strip("[]")
            self._server = TCPStore(address, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
            self._meeting = Meeting(address, self._server.port, 0)
        self._store: PrefixStore | None = None
        self._group: ProcessGroupGloo | None = None

    def prepare(self) -> dict[str, Any]:
        if self._meeting is None:
            return {}
        self._meeting = replace(self._meeting, number=self._meeting.number + 1)
        return {"meeting": self._meeting}

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[Any]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        def arguments(ranks: list[int]) -> dict[str, list[Any]]:
            count = len(ranks)
            return {
                "rank": ranks,
                "size": [1 + rollout_world_size] * count,
                "meeting": [metadata[0]["meeting"]] * count,
            }

        senders = [0] + [-1] * (actor_wg_world_size - 1)
        return arguments(senders), arguments(list(range(1, 1 + rollout_world_size)))

    def init_process_group(self, *, rank: int, size: int, meeting: Meeting) -> None:  # type: ignore[override]
        """Join a transfer; rank 0 sends, rank -1 neither sends nor receives."""
        if rank < 0:
            return
        store = self._server or TCPStore(meeting.address, meeting.port, is_master=False, timeout=TIMEOUT)
        self._store = PrefixStore(str(meeting.number), store)
        self._group = ProcessGroupGloo(self._store, rank, size, TIMEOUT)

    def finalize(self) -> None:
        self._group = self._store = None

    @torch.no_grad()
    async def send_weights(
        self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None
    ) -> dict[str, Any]:
        """Send the weights, one whole tensor each; verl gathers each during the iteration, on all ranks together."""
        number = 0
        for name, weight in weights:
            if self._store is None:
                continue
            dtype = str(weight.dtype).removeprefix("torch.")
            self._announce(number, {"name": name, "dtype": dtype, "shape": list(weight.shape)})
            self._broadcast(weight.detach().to("cpu").contiguous())
            number += 1
        self._announce(number, None)
        return {}

    @torch.no_grad()
    async def receive_weights(  # type: ignore[override]  # verl iterates it with `async for`
        self, global_steps: int | None = None
    ) -> AsyncGenerator[tuple[str, torch.Tensor], None]:
        """Receive the weights from `send_weights` as pairs of name and tensor."""
        if self._store is None:
            raise RuntimeError("receive_weights was called before init_process_group: call init_process_group first")
        number = 0
        while header := json.loads(self._store.get(str(number))):
            weight = torch.empty(header["shape"], dtype=getattr(torch, header["dtype"]))
            self._broadcast(weight)
            yield header["name"], weight
            number += 1

    def _announce(self, number: int, header: dict[str, Any] | None) -> None:
        if self._store is not None:
            self._store.set(str(number), json.dumps(header))

    def _broadcast(self, weight: torch.Tensor) -> None:
        if self._group is None:
            raise RuntimeError("weights were sent outside of a transfer: call init_process_group first")
        if weight.numel() > 0:
            work = self._group.broadcast(weight.view(-1).view(torch.uint8), root=0)  # type: ignore[attr-defined]
            work.wait()
