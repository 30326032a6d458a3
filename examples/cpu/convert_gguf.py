"""A GGUF file as a Hugging Face folder in bf16: python convert_gguf.py FILE.gguf FOLDER.

Its own process, for the package `gguf` has to be on the path before transformers is imported. What is written is
checked before it counts: texts come back from their ids, the tagger reads the tokenizer, and the log-probabilities are
those of the file's own tensors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf_reference import reference_log_probs
from gguf_tokenizer import tokenizer_of
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from rest_verl.core.tokens import TokenBytes

CHECKED = "checked.json"
# Rounding to bf16, in which the weights are kept, moves a log-probability by a few hundredths of a nat.
LARGEST_DIFFERENCE = 0.5
TEXTS = (
    'Hello 1234 wörld\n{"name": "f", "parameters": {"x": [1.5, true, null]}}',
    "<think> Which tool?\t北京 🙂 </think>\n\n  <tool_call>\r\nit's </tool_call>",
    "The capital of France is Paris, and the square root of 144 is 12.",
)


@dataclass(frozen=True)
class Checked:
    """What was compared.

    Attributes:
        source: the GGUF file's name.
        difference: the largest difference of a log-probability within the top 10 of each position, in nats, between
            the folder's model and the GGUF file's own tensors; None if there is no reference for the architecture.
        same_first: share of positions whose most likely next token is the same; None likewise.
    """

    source: str
    difference: float | None
    same_first: float | None


def convert(source: Path, folder: Path) -> None:
    """Write a GGUF file as a Hugging Face folder in bf16, and check it.

    Args:
        source: the GGUF file.
        folder: where to write; it is whole once it holds checked.json.

    Raises:
        ValueError: the file cannot be converted exactly, or a check failed.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    stored = {item.name: item for item in reader.tensors}

    def tensor(name: str) -> torch.Tensor:
        values = dequantize(stored[name].data, stored[name].tensor_type)
        return torch.from_numpy(np.ascontiguousarray(values)).float()

    tokenizer = tokenizer_of(fields)
    check_tokenizer(tokenizer)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model.config.update(ids)
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    checked = Checked(source.name, None, None)
    if fields["general.architecture"] == "llama":
        checked = _compare(source.name, folder, tokenizer, lambda ids: reference_log_probs(tensor, fields, ids))
    (folder / CHECKED).write_text(json.dumps(asdict(checked), indent=2) + "\n")


def check_tokenizer(tokenizer: Any) -> None:
    """Check that texts come back from their ids, and that the tagger reads the same bytes.

    Raises:
        ValueError: a text does not come back.
        TypeError: the tagger cannot know the bytes of the tokens.
    """
    table = TokenBytes.from_tokenizer(tokenizer, ends=True)
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if tokenizer.decode(ids) != text or table.decode(np.array(ids)) != text.encode():
            raise ValueError(
                f"{tokenizer.decode(ids)!r} comes back for {text!r}: the tokenizer is not the model's own, or changes "
                "texts; give a folder with a byte-level tokenizer"
            )


@torch.no_grad()
def _compare(name: str, folder: Path, tokenizer: Any, reference: Callable[[list[int]], torch.Tensor]) -> Checked:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    differences, same = [], []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        expected = reference(ids)
        found = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        top = expected.topk(10).indices
        differences.append((found.gather(1, top) - expected.gather(1, top)).abs().max().item())
        same += (found.argmax(-1) == expected.argmax(-1)).tolist()
    checked = Checked(name, max(differences), sum(same) / len(same))
    if max(differences) > LARGEST_DIFFERENCE:
        raise ValueError(f"the converted model differs from its GGUF file: {checked}; give its Hugging Face folder")
    return checked


if __name__ == "__main__":
    disable_progress_bar()
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except ValueError as error:
        sys.exit(str(error))
