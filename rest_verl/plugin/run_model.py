"""Check of a run's model against its settings, before Ray starts: whether each weight fits into the transfer bucket.

verl sends weights to the rollout engine through a bucket. On accelerators whose processes share memory (CUDA) a weight
that is larger travels alone, and verl's NCCL, HCCL and NIXL engines slice it. Through the host's shared memory (CPU,
NPU) and with Mooncake it must fit: otherwise the run ends with an assertion after minutes, once all is loaded.
verl is not imported here.
"""

from __future__ import annotations

import math
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from rest_verl.common.model_files import largest_weight
from rest_verl.config.rest import ConfigError

_PATH = "actor_rollout_ref.model.path"
_ENGINE = "actor_rollout_ref.rollout.checkpoint_engine"
_BUCKET = f"{_ENGINE}.update_weights_bucket_megabytes"
_LORA = "actor_rollout_ref.model"
_DEVICES_OF_SHARED_MEMORY = ("cpu", "npu")
_MIB = 2**20


def check_model(config: DictConfig) -> None:
    """Check that the model's largest weight fits into the bucket; a model that is not a local folder is left to verl.

    Args:
        config: whole config of the run.

    Raises:
        ConfigError: it does not; the message has the override that mends it.
    """
    path, bucket = OmegaConf.select(config, _PATH), OmegaConf.select(config, _BUCKET)
    if path is None or bucket is None or not _must_fit(config) or _sends_adapters_only(config):
        return
    weight = largest_weight(Path(str(path)).expanduser())
    if weight is None:
        return
    needed = math.ceil(_bytes_of_an_element(config) * weight.elements / _MIB)
    if needed > bucket:
        raise ConfigError(
            f"{_BUCKET}={bucket} is too small for {path}: its largest weight, {weight.name}, takes {needed} MiB, and "
            f"verl would end with an assertion when it first sends the weights. Set {_BUCKET}={needed}"
        )


def _must_fit(config: DictConfig) -> bool:
    backend = OmegaConf.select(config, f"{_ENGINE}.backend")
    through_shared_memory = (
        backend == "naive"
        and OmegaConf.select(config, "actor_rollout_ref.rollout.name") == "vllm"
        and OmegaConf.select(config, "trainer.device") in _DEVICES_OF_SHARED_MEMORY
    )
    return through_shared_memory or backend == "mooncake"


def _sends_adapters_only(config: DictConfig) -> bool:
    """Whether vLLM loads the base model from its files and gets only the LoRA adapters."""
    return bool(
        OmegaConf.select(config, f"{_LORA}.lora_rank")
        and not OmegaConf.select(config, f"{_LORA}.lora.merge")
        and "dummy" not in str(OmegaConf.select(config, "actor_rollout_ref.rollout.load_format"))
    )


def _bytes_of_an_element(config: DictConfig) -> int:
    """FSDP sends weights in the dtype in which it keeps them; other engines send bf16."""
    if OmegaConf.select(config, "actor_rollout_ref.actor.strategy") not in ("fsdp", "fsdp2"):
        return 2
    kept = OmegaConf.select(config, "actor_rollout_ref.actor.fsdp_config.model_dtype")
    return 4 if kept in (None, "fp32", "float32") else 2
