"""Where the policy is in what verl's trainer saved, and whether all of it is there.

A run writes `global_step_N/actor` under its `trainer.default_local_dir`. In it FSDP leaves one shard for each rank,
Megatron a folder `model`; both may leave a Hugging Face folder with weights.
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
# verl's trainer writes it last, so the step that it names is whole.
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
        kind: `fsdp` and `megatron` are shards, which verl's merger puts together; `weights` is a Hugging Face folder
            with its weights already, as verl writes it for Megatron's bridge and for
            `actor.checkpoint.save_contents=[hf_model]`.
    """

    actor: Path
    model: Path
    kind: Literal["fsdp", "megatron", "weights"]


def find_checkpoint(path: Path, step: int | None = None) -> Checkpoint:
    """Find the policy in a run's folder, in a folder `global_step_N` or in its `actor`.

    Args:
        step: which step of a run's folder; None for the newest complete one.

    Raises:
        ExportError: there is no checkpoint, or not all of it.
    """
    if not path.is_dir():
        raise ExportError(
            f"{path}: there is no such folder; give a run's trainer.default_local_dir or a global_step_N"
        )
    actor = _actor(path) or _actor(path / "actor")
    if actor is None:
        chosen = _of_run(path, step)
        actor = _actor(chosen / "actor")
        if actor is None:
            raise ExportError(f"{chosen} holds no policy: neither actor/{_FSDP} (FSDP) nor actor/model (Megatron)")
    elif step is not None:
        raise ExportError(f"--step {step} chooses among the steps of a run, but {path} is one step: leave --step out")
    return _fsdp(actor) if (actor / _FSDP).is_file() else _megatron(actor)


def _actor(path: Path) -> Path | None:
    """The folder itself where it holds a policy."""
    return path if (path / _FSDP).is_file() or (path / "model").is_dir() else None


def _of_run(run: Path, step: int | None) -> Path:
    steps = sorted(
        int(number)
        for folder in run.glob(f"{_STEP}*")
        if folder.is_dir() and (number := folder.name.removeprefix(_STEP)).isdecimal()
    )
    if not steps:
        raise ExportError(f"{run} holds no checkpoint: no global_step_N in it, nor is it one")
    wanted = step
    if wanted is None:
        newest = run / _NEWEST
        written = newest.read_text(encoding="utf-8").strip() if newest.is_file() else ""
        wanted = int(written) if written.isdecimal() else None
    if wanted not in steps:
        there = ", ".join(map(str, steps))
        if step is not None:
            raise ExportError(f"--step {step} is not in {run}; there are {there}")
        said = f"names step {wanted}, which is not there" if wanted is not None else "is missing or names no step"
        raise ExportError(f"{run / _NEWEST} {said}: choose with --step among {there}")
    return run / f"{_STEP}{wanted}"


def _fsdp(actor: Path) -> Checkpoint:
    model = actor / "huggingface"
    if not any(actor.glob("model_world_size_*.pt")) and _has_weights(model):
        return Checkpoint(actor, model, "weights")
    ranks = _ranks(actor / _FSDP)
    names = [f"model_world_size_{ranks}_rank_{rank}.pt" for rank in range(ranks)]
    missing = [name for name in names if not (actor / name).is_file()]
    if missing:
        raise ExportError(
            f"{actor}: {len(missing)} of {ranks} shards missing: {_some(missing)}. Each node writes its own "
            "ranks: copy them into this folder, or choose another step with --step"
        )
    # torch writes zip files, whose table of contents is at the end
    broken = [name for name in names if not is_zipfile(actor / name)]
    if broken:
        raise ExportError(
            f"{actor}: {len(broken)} of {ranks} shards broken off or damaged: {_some(broken)}. Copy them again, or "
            "choose another step with --step"
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
            f"{actor} holds Megatron shards without the model's config: copy config.json and the tokenizer of the "
            f"model that was trained into {model}"
        )
    return Checkpoint(actor, model, "megatron")


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _ranks(config: Path) -> int:
    try:
        ranks = json.loads(config.read_text(encoding="utf-8"))["world_size"]
    except (ValueError, KeyError, TypeError):
        ranks = None
    if not isinstance(ranks, int):
        raise ExportError(f"{config} does not say world_size, the number of shards: choose another step with --step")
    return ranks


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


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
