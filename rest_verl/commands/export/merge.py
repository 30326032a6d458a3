"""One Hugging Face folder out of a checkpoint, by verl's own merger."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from rest_verl.commands.export.checkpoint import Checkpoint, ExportError

# What verl's merger calls the adapter of a LoRA run; the base model lies beside it.
ADAPTER = "lora_adapter"


def merge(checkpoint: Checkpoint, folder: Path, log: Path) -> None:
    """Write the policy's weights, config and tokenizer into a folder that does not exist.

    FSDP weights become bfloat16. A LoRA run gives its base model and, in `lora_adapter`, the adapter; the adapter
    alone where the run saved no more (`actor.checkpoint.save_lora_only`).

    Args:
        log: file for all that verl's merger writes; none is made for a checkpoint that has its weights already.

    Raises:
        ExportError: the merger failed; its last words and where the others are.
    """
    if checkpoint.kind == "weights":
        shutil.copytree(checkpoint.model, folder)
        return
    command = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", checkpoint.kind]
    command += ["--local_dir", str(checkpoint.actor), "--target_dir", str(folder)]
    if checkpoint.kind == "megatron" and _ties_embeddings(checkpoint.model):
        command.append("--tie-word-embedding")
    with log.open("wb") as stream:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream).returncode
    if status == 0:
        return
    if (folder / ADAPTER / "adapter_model.safetensors").is_file() and not any(folder.glob("*.safetensors")):
        # verl's merger has done all that could be done, and misses the base model that was never saved
        return
    if status < 0:
        raise ExportError(
            f"verl's merger was ended by signal {-status}: is there memory for the model? Its log: {log}"
        )
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ExportError(f"verl's merger failed: {lines[-1] if lines else f'status {status}'} (all of it: {log})")


def _ties_embeddings(model: Path) -> bool:
    return bool(json.loads((model / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings"))
