"""Find the policy in a checkpoint of verl's trainer, check that it is complete, and merge its shards.

A run writes `global_step_N/actor` below its `trainer.default_local_dir`. There FSDP saves one shard per rank, Megatron
a folder `model`; both may save a Hugging Face folder with weights.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import is_zipfile

_STEP = "global_step_"
# verl's trainer writes it last, so the step that it names is complete.
_NEWEST = "latest_checkpointed_iteration.txt"
_FSDP = "fsdp_config.json"


class ExportError(ValueError):
    """A checkpoint cannot be exported; the message says what to do next."""


@dataclass(frozen=True)
class Checkpoint:
    """The policy of one step.

    Attributes:
        actor: the folder `global_step_N/actor`.
        model: the Hugging Face folder in it: config, tokenizer and, where `kind` says so, weights.
        kind: `fsdp` and `megatron` are shards, which verl's merger combines; `weights` is a Hugging Face folder that
            already has its weights, as verl writes it for Megatron's bridge and for
            `actor.checkpoint.save_contents=[hf_model]`.
    """

    actor: Path
    model: Path
    kind: Literal["fsdp", "megatron", "weights"]


def find_checkpoint(path: Path, step: int | None = None) -> Checkpoint:
    """Find the policy in a run's folder, in a folder `global_step_N` or in its `actor`.

    Args:
        step: the step to choose in a run's folder; None for the latest complete one.

    Raises:
        ExportError: there is no checkpoint, or it is incomplete.
    """
    if not path.is_dir():
        raise ExportError(f"{path}: no such folder; give a run's trainer.default_local_dir or a global_step_N")
    actor = next((folder for folder in (path, path / "actor") if _holds_policy(folder)), None)
    if actor is None:
        chosen = _step_folder(path, step)
        actor = chosen / "actor"
        if not _holds_policy(actor):
            raise ExportError(f"{chosen} holds no policy: neither actor/{_FSDP} (FSDP) nor actor/model (Megatron)")
    elif step is not None:
        raise ExportError(f"--step {step} chooses among the steps of a run, but {path} is one step: omit --step")
    return _fsdp(actor) if (actor / _FSDP).is_file() else _megatron(actor)


def _holds_policy(folder: Path) -> bool:
    return (folder / _FSDP).is_file() or (folder / "model").is_dir()


def _step_folder(run: Path, step: int | None) -> Path:
    steps = sorted(
        int(number)
        for folder in run.glob(f"{_STEP}*")
        if folder.is_dir() and (number := folder.name.removeprefix(_STEP)).isdecimal()
    )
    if not steps:
        raise ExportError(f"{run} holds no checkpoint: it neither is nor contains a global_step_N")
    wanted = step
    if wanted is None:
        newest = run / _NEWEST
        written = newest.read_text(encoding="utf-8").strip() if newest.is_file() else ""
        wanted = int(written) if written.isdecimal() else None
    if wanted not in steps:
        available = ", ".join(map(str, steps))
        if step is not None:
            raise ExportError(f"--step {step} is not in {run}; choose one of {available}")
        problem = f"names step {wanted}, which is missing" if wanted is not None else "is missing or names no step"
        raise ExportError(f"{run / _NEWEST} {problem}: choose with --step one of {available}")
    return run / f"{_STEP}{wanted}"


def _fsdp(actor: Path) -> Checkpoint:
    model = actor / "huggingface"
    if not any(actor.glob("model_world_size_*.pt")) and _has_weights(model):
        return Checkpoint(actor, model, "weights")
    ranks = _world_size(actor / _FSDP)
    names = [f"model_world_size_{ranks}_rank_{rank}.pt" for rank in range(ranks)]
    missing = [name for name in names if not (actor / name).is_file()]
    if missing:
        raise ExportError(
            f"{actor}: {len(missing)} of {ranks} shards missing: {_abbreviate(missing)}. Each node writes the shards "
            "of its own ranks: copy them into this folder, or choose another step with --step"
        )
    # torch writes zip files, whose table of contents is at the end
    broken = [name for name in names if not is_zipfile(actor / name)]
    if broken:
        raise ExportError(
            f"{actor}: {len(broken)} of {ranks} shards truncated or damaged: {_abbreviate(broken)}. Copy them again, "
            "or choose another step with --step"
        )
    return Checkpoint(actor, model, "fsdp")


def _megatron(actor: Path) -> Checkpoint:
    model = actor / "model" / "huggingface"
    if _has_weights(model):
        return Checkpoint(actor, model, "weights")
    if not (actor / "model" / "dist_ckpt").is_dir():
        raise ExportError(
            f"{actor / 'model'}: neither dist_ckpt nor a huggingface folder with weights; choose another step"
        )
    if not (model / "config.json").is_file():
        raise ExportError(
            f"{actor} holds Megatron shards without the model's config: copy the trained model's config.json and "
            f"tokenizer into {model}"
        )
    return Checkpoint(actor, model, "megatron")


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _world_size(config: Path) -> int:
    try:
        ranks = json.loads(config.read_text(encoding="utf-8"))["world_size"]
    except (ValueError, KeyError, TypeError):
        ranks = None
    if not isinstance(ranks, int):
        raise ExportError(f"{config} has no world_size, the number of shards: choose another step with --step")
    return ranks


def _abbreviate(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


# The folder into which verl's merger writes the adapter of a LoRA run, next to the base model.
ADAPTER = "lora_adapter"


def merge(checkpoint: Checkpoint, folder: Path, log: Path) -> None:
    """Write the policy's weights, config and tokenizer into a folder that does not exist.

    FSDP weights become bfloat16. For a LoRA run, the folder gets the base model and, in `lora_adapter`, the adapter;
    only the adapter if the run saved nothing else (`actor.checkpoint.save_lora_only`).

    Args:
        log: file for the output of verl's merger; not written if the checkpoint already has its weights.

    Raises:
        ExportError: the merger failed; the message has its last line and the log's path.
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
        # verl's merger wrote the adapter, then failed on the base model that was never saved
        return
    if status < 0:
        raise ExportError(
            f"verl's merger was killed by signal {-status}: is there enough memory for the model? Its log: {log}"
        )
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ExportError(f"verl's merger failed: {lines[-1] if lines else f'status {status}'} (log: {log})")


def _ties_embeddings(model: Path) -> bool:
    return bool(json.loads((model / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings"))
