"""What processes of a distributed run do, in a module that they can import: they write FSDP2 checkpoints of tiny
models over gloo, by verl's own wrapping and checkpoint manager, or receive weights as a rollout does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

LORA_RANK, LORA_ALPHA = 4, 8


def write_checkpoints(model: Path, actors: dict[Path, dict[str, Any]], ranks: int, rendezvous: Path) -> None:
    """Write checkpoints of one model on so many ranks.

    Args:
        model: Hugging Face folder with model and tokenizer.
        actors: folder of each checkpoint (`global_step_N/actor`), and how it is made: `lora` whether the model trains
            an adapter, everything else is verl's checkpoint config.
        ranks: processes, each of which writes its shards.
        rendezvous: a file that does not exist, through which the ranks find each other.
    """
    multiprocessing.spawn(_rank, (ranks, model, actors, rendezvous), nprocs=ranks)


def _rank(rank: int, ranks: int, model: Path, actors: dict[Path, dict[str, Any]], rendezvous: Path) -> None:
    # the ranks share a small machine
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    os.environ["VERL_PLATFORM"] = "cpu"  # as in a run: verl 0.9.0 asks a GPU for the state of its random numbers
    store = distributed.FileStore(str(rendezvous), ranks)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    for folder, made in actors.items():
        settings = dict(made)
        _save(model, folder, bool(settings.pop("lora", False)), settings)
    distributed.destroy_process_group()


def _save(model: Path, folder: Path, lora: bool, settings: dict[str, Any]) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from verl.trainer.config import CheckpointConfig
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager
    from verl.utils.fsdp_utils import apply_fsdp2

    trained = lora_model(model) if lora else AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),), mesh_dim_names=("fsdp",))
    apply_fsdp2(trained, {"mesh": mesh}, {})
    manager = FSDPCheckpointManager(
        trained,
        torch.optim.AdamW(trained.parameters()),
        processing_class=AutoTokenizer.from_pretrained(model),
        checkpoint_config=CheckpointConfig(**settings),
    )
    manager.save_checkpoint(str(folder), global_step=1)


def lora_model(model: Path) -> Any:
    """The model in a folder with an adapter, which is the same at every call and not the identity."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    torch.manual_seed(0)
    # the usual start, B = 0, would be the identity
    return get_peft_model(
        base,
        LoraConfig(
            r=LORA_RANK,
            lora_alpha=LORA_ALPHA,
            target_modules=["q_proj", "v_proj"],
            task_type="CAUSAL_LM",
            init_lora_weights=False,
        ),
    )


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
