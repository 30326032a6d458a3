"""Try an exported folder: load every weight and generate a few tokens."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rest_verl.commands.export.checkpoint import ADAPTER, ExportError

TOKENS = 8
# vLLM's default limit for adapters.
_VLLM_LORA_RANK = 16


@dataclass(frozen=True)
class Trial:
    """The result of loading the folder.

    Attributes:
        parameters: number of the model's parameters, without an adapter.
        dtype: dtype of its weights, such as "bfloat16".
        reply: the first tokens of its greedy reply to "Hello", as text; may include the end of turn.
    """

    parameters: int
    dtype: str
    reply: str


def try_model(folder: Path) -> Trial:
    """Load config, tokenizer, weights and adapter with transformers on the CPU, and generate.

    Raises:
        ExportError: a weight is missing or unexpected.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    # their return types depend on arguments in ways that their annotations do not express
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    model, found = loaded
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := found[problem]:
            raise ExportError(f"the merged model has {problem.replace('_', ' ')}: {', '.join(map(str, keys))}")
    parameters, dtype = model.num_parameters(), str(model.dtype).removeprefix("torch.")
    if (folder / ADAPTER).is_dir():
        model = _with_adapter(model, folder / ADAPTER)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        ids = model.generate(**prompt, max_new_tokens=TOKENS, do_sample=False)
    return Trial(parameters, dtype, tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :]))


def _with_adapter(model: Any, folder: Path) -> Any:
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    adapted = PeftModel.from_pretrained(model, folder)
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
        difference = set(weights.keys()) ^ set(get_peft_model_state_dict(adapted))
    if difference:
        raise ExportError(f"the adapter's weights do not fit the model: {', '.join(sorted(difference))}")
    return adapted


def serve_command(folder: Path, has_base: bool) -> str:
    """The `vllm serve` command line for an exported folder; an adapter is served under the name `adapter`.

    Args:
        has_base: whether the folder holds the model itself, not only an adapter.
    """
    if not (folder / ADAPTER).is_dir():
        return shlex.join(["vllm", "serve", str(folder)])
    rank = json.loads((folder / ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    served = shlex.quote(str(folder)) if has_base else "BASE_MODEL"
    command = f"vllm serve {served} --enable-lora --lora-modules {shlex.quote(f'adapter={folder / ADAPTER}')}"
    # vLLM accepts only powers of two
    return command if rank <= _VLLM_LORA_RANK else f"{command} --max-lora-rank {1 << (rank - 1).bit_length()}"
