"""Values that `+platform=cpu` derives from the machine and from the model: resolvers of OmegaConf.

    ${rest_cpu.bucket_megabytes:MODEL}    room for the model's largest weight in float32
    ${rest_cpu.dtype:MODEL}               bfloat16 or float32
    ${rest_cpu.threads:MODEL,WORKERS}     threads of a worker, as text for an environment variable

MODEL is `actor_rollout_ref.model.path`. Hydra's plugin registers them before a config is composed, and the entry point
of verl's plugins in every process that verl starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rest_verl.common.model_files import largest_weight, stored_dtype
from rest_verl.cpu.host import has_bf16, threads_of

# Small, since it is shared memory, of which a container has 64 MiB unless its user asked for more.
_SMALLEST_BUCKET = 32
_MIB = 2**20

# Threads of a model whose largest weight is below this wait for each other longer than they compute.
_WORTH_THREADS = 10**6


def bucket_megabytes(model: Any) -> int:
    """MiB of the bucket through which weights go to the rollout engine: the model's largest weight in float32."""
    weight = largest_weight(_folder(model))
    return _SMALLEST_BUCKET if weight is None else max(_SMALLEST_BUCKET, math.ceil(4 * weight.elements / _MIB))


def compute_dtype(model: Any) -> str:
    """dtype in which actor and engine compute: that of a model stored in bf16 where the processor has it.

    Any other model computes in float32, in which engine and actor agree to the last digits.
    """
    return "bfloat16" if stored_dtype(_folder(model)) == "bfloat16" and has_bf16() else "float32"


def threads(model: Any, workers: Any) -> str:
    """Threads of each of the workers of this machine; one for a tiny model."""
    weight = largest_weight(_folder(model))
    return "1" if weight is not None and weight.elements < _WORTH_THREADS else str(threads_of(int(workers)))


def register_resolvers() -> None:
    """Register the resolvers in this process; again is harmless."""
    resolvers: dict[str, Callable[..., Any]]
    resolvers = {"bucket_megabytes": bucket_megabytes, "dtype": compute_dtype, "threads": threads}
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(f"rest_cpu.{name}", resolver, replace=True)


def resolve_environment(config: DictConfig) -> None:
    """Replace the interpolations in Ray's environment variables by their values, in place: verl hands them to Ray as
    they stand.

    Args:
        config: whole config of the run.
    """
    environment = OmegaConf.select(config, "ray_kwargs.ray_init.runtime_env")
    if environment is not None:
        OmegaConf.resolve(environment)


def _folder(model: Any) -> Path:
    return Path(str(model)).expanduser()
