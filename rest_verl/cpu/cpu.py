"""CPU platform for verl: runs the real trainer, Ray, FSDP2 and vLLM on a laptop.

Registered as `cpu` and used only on request (`+platform=cpu`, which sets VERL_PLATFORM in every process). A platform
gives verl a module shaped like torch.cuda, a resource name and a process-group backend. Where verl relies on an
accelerator without asking its platform, the `_adapt_*` functions below patch it and say why. They have no effect on
other platforms.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import psutil
import torch
import wrapt
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry, get_platform

from rest_verl.cpu import vllm_cpu_name


class CPUDeviceModule(ModuleType):
    """The part of torch.cuda's interface that verl uses, on the host: torch.cpu has no memory and no seed functions.

    Memory is in bytes: the resident set of the process for allocated, the host's memory for free and total.
    """

    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    get_device_name = staticmethod(lambda device=None: "CPU")
    set_device = synchronize = reset_peak_memory_stats = reset_accumulated_memory_stats = staticmethod(
        lambda device=None: None
    )
    empty_cache = ipc_collect = staticmethod(lambda: None)
    memory_allocated = memory_reserved = staticmethod(lambda device=None: psutil.Process().memory_info().rss)
    max_memory_allocated = max_memory_reserved = staticmethod(
        lambda device=None: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    get_rng_state = staticmethod(lambda device=None: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, device=None: torch.set_rng_state(state))
    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)  # streams, events, autocast


_DEVICE_MODULE = CPUDeviceModule("rest_verl_cpu_device")


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    """The host as verl's accelerator."""

    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: _DEVICE_MODULE)

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        # Never chosen by probing: a head node without GPUs must use the platform of its workers.
        return False

    def current_device(self) -> torch.device:  # type: ignore[override]
        # verl passes this to Tensor.to, Module.to and FSDP, where an int would mean an accelerator.
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "VERL_CPU_VISIBLE_DEVICES"

    def ray_resource_name(self) -> str:
        # verl's resource pools count "GPU" and "NPU" only, so +platform=cpu declares logical GPUs to Ray.
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False  # weights go to vLLM through shared memory instead

    def rollout_env_vars(self) -> dict[str, str]:
        return {}

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def cudart(self) -> Any:
        return None


def _on_cpu() -> bool:
    return get_platform().device_name == "cpu"


@wrapt.when_imported("verl.utils.distributed")
def _adapt_process_group(module: ModuleType) -> None:
    """verl joins "cpu:gloo" with the platform's own backend; on a CPU that names the same device twice, which torch
    rejects."""

    def initialize(original: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        if _on_cpu() and len(args) < 2:
            kwargs = {"backend": "cpu:gloo", **kwargs}
        return original(*args, **kwargs)

    wrapt.wrap_function_wrapper(module, "initialize_global_process_group_ray", initialize)


@wrapt.when_imported("verl.utils.fsdp_utils")
def _adapt_offload_policy(module: Any) -> None:
    """verl offloads reference policies with FSDP2, which pins memory; pinning needs an accelerator."""

    def offload(original: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        return original(pin_memory=False) if _on_cpu() else original(*args, **kwargs)

    module.CPUOffloadPolicy = wrapt.FunctionWrapper(module.CPUOffloadPolicy, offload)


@wrapt.when_imported("verl.utils.model")
def _adapt_critic(module: ModuleType) -> None:
    """verl always loads critics with flash attention, which needs a GPU, and ignores the model's config."""

    def load(original: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        return _value_model(*args, **kwargs) if _on_cpu() else original(*args, **kwargs)

    wrapt.wrap_function_wrapper(module, "load_valuehead_model", load)


def _value_model(local_path: str, torch_dtype: torch.dtype, model_config: Any, trust_remote_code: bool) -> Any:
    # verl calls its function with keyword arguments, so these parameters have the same names.
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification.from_pretrained(
        local_path,
        dtype=torch_dtype,
        config=model_config,
        attn_implementation="sdpa",
        trust_remote_code=trust_remote_code,
    )


vllm_cpu_name.install()
