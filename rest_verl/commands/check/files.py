"""Check the files, folders and loggers that a run opens only after Ray, the model and the engines have started."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from rest_verl.common.names import closest, unknown_name
from rest_verl.data.files import parquet_fault
from rest_verl.plugin.run_data import data_files

DATA = ("data.train_files", "data.val_files")
_MODEL, _CRITIC = "actor_rollout_ref.model", "critic.model"
_SUFFIXES = (".parquet", ".json", ".jsonl")
_FOLDERS = (
    "trainer.default_local_dir",
    "trainer.rollout_data_dir",
    "trainer.validation_data_dir",
    "rest.dump_dir",
)
_RESUME, _RESUME_FROM = "trainer.resume_mode", "trainer.resume_from_path"
_RESUME_MODES = ("auto", "disable", "resume_path")
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "*.tiktoken", "tekken.json")


def file_problems(config: DictConfig) -> Iterator[str]:
    """One line for each file, folder or logger of a run that is not as verl needs it. What is missing may still come,
    unless others of its kind are where it should be."""
    for key in DATA:
        for path in data_files(config, key):
            if "://" not in str(path) and (fault := _data_fault(config, path)):
                yield f"{key}={path}: {fault}"
    yield from _models(config)
    for key in _FOLDERS:
        given = OmegaConf.select(config, key)
        if given and "://" not in given and (fault := _folder_fault(Path(given).expanduser())):
            yield f"{key}={given}: {fault}"
    yield from _resume(config)
    yield from _loggers(config)


def _data_fault(config: DictConfig, path: Path) -> str | None:
    if path.is_dir():
        inside = sorted(item.name for item in path.iterdir() if item.suffix in _SUFFIXES)
        return f"a folder: give a file, such as {path / inside[0]}" if inside else "a folder: give a file"
    if path.suffix not in _SUFFIXES:
        return f"verl reads files by their names: expected one that ends in {', '.join(_SUFFIXES)}"
    if not path.exists():
        around = path.parent.iterdir() if path.parent.is_dir() else []
        others = sorted(item.name for item in around if item.suffix in _SUFFIXES)
        near = nearest_file(path)
        there = f"did you mean {near}?" if near and near.name in others else f"its folder has {', '.join(others)}"
        return f"no such file: {there}" if others else None
    if path.suffix != ".parquet":
        return None if path.stat().st_size else "the file is empty (0 bytes); recreate it"
    return parquet_fault(path) or _column_fault(config, path)


def nearest_file(path: Path) -> Path | None:
    """The file next to a missing one whose name is like its name, without the suffixes; None if there is none."""
    names = {item.stem: item for item in path.parent.iterdir()} if path.parent.is_dir() else {}
    near = closest(path.stem, names)
    return names[near[0]] if near else None


def _column_fault(config: DictConfig, path: Path) -> str | None:
    from pyarrow.parquet import read_metadata, read_schema

    if not read_metadata(path).num_rows:
        return "the file has no rows"
    key, names = OmegaConf.select(config, "data.prompt_key"), read_schema(path).names
    if key in names or OmegaConf.select(config, "data.custom_cls.path"):
        return None
    return f"no column {key!r} (data.prompt_key), only {', '.join(names)}: set data.prompt_key, or make the file again"


def _models(config: DictConfig) -> Iterator[str]:
    used = {f"{_MODEL}.path": "model", f"{_MODEL}.tokenizer_path": "tokenizer", f"{_MODEL}.hf_config_path": "config"}
    used[f"{_MODEL}.lora_adapter_path"] = "adapter"
    if has_critic(config):
        used[f"{_CRITIC}.path"] = "model"
    if OmegaConf.select(config, "reward.reward_model.enable"):
        used["reward.reward_model.model_path"] = "model"
        if not OmegaConf.select(config, "reward.reward_model.model_path"):
            yield "reward.reward_model.model_path has no value: set the folder of the reward model"
    own_tokenizer = OmegaConf.select(config, f"{_MODEL}.tokenizer_path") is not None
    for key, kind in used.items():
        given = OmegaConf.select(config, key)
        if given and (fault := _model_fault(Path(given).expanduser(), kind, own_tokenizer)):
            yield f"{key}={given}: {fault}"
    template = OmegaConf.select(config, f"{_MODEL}.custom_chat_template")
    if template and (Path(template).is_file() or (template.endswith((".jinja", ".j2")) and "{" not in template)):
        yield (
            f"{_MODEL}.custom_chat_template={template}: expected the text of a template, not a file: write "
            f"'{_MODEL}.custom_chat_template=\\'\"$(cat {template})\"\\'', or put it into the model's folder"
        )


def _model_fault(folder: Path, kind: str, own_tokenizer: bool) -> str | None:
    """Why a folder is no model, tokenizer, config or LoRA adapter; None if it is one, or is not here."""
    if folder.is_file():
        return "a file: give the folder of the model"
    if not folder.is_dir():
        return None
    if kind == "adapter":
        return (
            None if (folder / "adapter_config.json").is_file() else "no adapter_config.json in it: not a LoRA adapter"
        )
    if kind in ("model", "config") and not (folder / "config.json").is_file():
        if (folder / "actor").is_dir() or (folder / "fsdp_config.json").is_file():
            return "a checkpoint of verl, not a model: export it with `rest-verl export`"
        return "no config.json in it: not a model"
    needs_tokenizer = kind == "tokenizer" or (kind == "model" and not own_tokenizer)
    if needs_tokenizer and not _has(folder, _TOKENIZERS):
        return f"no tokenizer in it ({', '.join(_TOKENIZERS[:3])})"
    if kind == "model" and not _has(folder, _WEIGHTS):
        return f"no weights in it ({', '.join(_WEIGHTS)})"
    return None


def _has(folder: Path, patterns: Sequence[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def has_critic(config: DictConfig) -> bool:
    """Whether a run trains a critic, as verl decides it."""
    enabled = OmegaConf.select(config, "critic.enable")
    return bool(enabled) if enabled is not None else OmegaConf.select(config, "algorithm.adv_estimator") == "gae"


def _folder_fault(folder: Path) -> str | None:
    """Why a run could not write into a folder, which it makes if it is missing."""
    if folder.is_dir():
        return None if os.access(folder, os.W_OK | os.X_OK) else "cannot be written: choose another folder"
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir():
        return f"{above} is a file: choose another folder"
    # a whole path from the root may be another machine's
    if above != Path(above.anchor) and not os.access(above, os.W_OK | os.X_OK):
        return f"cannot be made, since {above} cannot be written: choose another folder"
    return None


def _resume(config: DictConfig) -> Iterator[str]:
    mode, given = OmegaConf.select(config, _RESUME), OmegaConf.select(config, _RESUME_FROM)
    if mode not in _RESUME_MODES:
        yield f"{_RESUME}: {unknown_name('mode', str(mode), _RESUME_MODES)}"
    if mode == "resume_path":
        if not given:
            yield f"{_RESUME}=resume_path: set {_RESUME_FROM} to a folder global_step_N, or {_RESUME}=auto"
        elif not re.search(r"global_step_\d+$", str(given)):
            yield f"{_RESUME_FROM}={given}: expected a folder whose name is global_step_N: no slash after it"
        elif Path(given).is_dir() and not (Path(given) / "actor").is_dir():
            yield f"{_RESUME_FROM}={given}: no actor/ in it: not a whole checkpoint"
        elif not Path(given).exists() and Path(given).parent.is_dir():
            steps = sorted(item.name for item in Path(given).parent.glob("global_step_*"))
            there = f"; there are {', '.join(steps)}" if steps else ""
            yield f"{_RESUME_FROM}={given}: no such folder{there}"
    elif given:
        yield f"{_RESUME_FROM}={given} is read only with {_RESUME}=resume_path: set it, or remove the path"


def _loggers(config: DictConfig) -> Iterator[str]:
    from verl.utils.tracking import Tracking

    given = OmegaConf.select(config, "trainer.logger")
    allowed = [*Tracking.supported_backend, "tracking"]
    for name in given if isinstance(given, ListConfig) else [given]:
        if name not in allowed:
            yield f"trainer.logger: {unknown_name('logger', str(name), allowed)}"
