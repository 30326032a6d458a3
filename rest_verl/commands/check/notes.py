"""What a dry run could not try on this machine, and what its user should know: notes, not errors."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rest_verl.commands.check.files import DATA, has_critic
from rest_verl.commands.check.key_types import unread_keys
from rest_verl.plugin.run_data import data_files

# The module that a setting requires: (key, value) -> module.
REQUIRED_MODULES = {
    ("actor_rollout_ref.rollout.name", "vllm"): "vllm",
    ("actor_rollout_ref.rollout.name", "sglang"): "sglang",
    ("actor_rollout_ref.actor.strategy", "megatron"): "megatron.core",
    ("actor_rollout_ref.rollout.checkpoint_engine.backend", "nccl"): "cupy",
}


# The package that a logger of verl's imports when the trainer starts.
LOGGER_PACKAGES = {
    "clearml": "clearml",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}


def run_notes(config: DictConfig, base: DictConfig) -> Iterator[str]:
    """One line for each thing that could not be tried here, or that verl accepts and the user should know."""
    import torch

    for (key, value), module in REQUIRED_MODULES.items():
        if OmegaConf.select(config, key) == value and not _installed(module):
            yield f"{key}={value}: {module} is not installed here, so it was not tried"
    if config.trainer.device == "cuda" and not torch.cuda.is_available():
        yield "no GPU here, so memory and kernels were not tried"
    for key in ("actor_rollout_ref.model.path", *(["critic.model.path"] if has_critic(config) else [])):
        model = OmegaConf.select(config, key)
        if not is_here(model):
            if model == OmegaConf.select(base, key):
                yield f"you have not set {key}: verl's default, {model}, is not here"
            else:
                yield f"{key}={model} is not a folder here, so the model was not checked"
    for key in DATA:
        for path in data_files(config, key):
            if path.exists() or "://" in str(path):
                continue
            if OmegaConf.select(config, key) == OmegaConf.select(base, key):
                yield f"you have not set {key}: verl's default, {path}, is not here; `rest-verl data` makes files"
            else:
                yield f"{key}={path} does not exist yet: `rest-verl data` writes it"
    loggers = config.trainer.logger
    for logger in [loggers] if isinstance(loggers, str) else loggers:
        if (package := LOGGER_PACKAGES.get(logger)) is not None and not _installed(package):
            yield f"trainer.logger has {logger}, and {package} is not installed here: install it, or leave it out"
    for key in unread_keys(config, base):
        yield f"{key} is not a key of verl's own config: it has an effect only if other code reads it"


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # its parent package is missing


def is_here(model: Any) -> bool:
    """Whether a model is a folder of this machine."""
    return Path(str(model)).expanduser().is_dir()
