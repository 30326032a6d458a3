"""Worker extension of vLLM's CPU backend; `+platform=cpu` names it in `engine_kwargs.vllm.worker_extension_cls`.

After loading, vLLM's CPU linear layers move their weight into a prepacked oneDNN handle and keep an empty parameter
without a loader, so the next weight sync has no target. Without oneDNN the layers keep their weight and call torch's
linear. The worker imports this module before it builds the model.
"""

import vllm._custom_ops as custom_ops
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

custom_ops._supports_onednn = False


class CPUWorkerExtension(vLLMColocateWorkerExtension):
    """verl's extension; importing this module switches oneDNN off."""
