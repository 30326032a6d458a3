"""Worker extension of vLLM's CPU backend; `+platform=cpu` names it in `engine_kwargs.vllm.worker_extension_cls`.

After loading, vLLM's CPU linear layers hand their weight to a prepacked oneDNN handle and keep an empty parameter
without a loader, so the next weight sync has nothing to write to. Without oneDNN the layers keep their weight and call
torch's linear. This module is imported by the worker before the model is built.
"""

import vllm._custom_ops as custom_ops
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

custom_ops._supports_onednn = False


class CPUWorkerExtension(vLLMColocateWorkerExtension):
    """verl's extension, loaded from a module that switches oneDNN off."""
