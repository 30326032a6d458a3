"""What the files of a Hugging Face folder say about a model's weights, read from headers: no weight is loaded.

A safetensors file begins with the length of its header, 8 bytes, little-endian, then the header, a JSON object of name
-> {"dtype", "shape", "data_offsets"} (https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Attributes:
        name: its name in the file, or what it is where only the config is known.
        elements: its number of elements.
    """

    name: str
    elements: int


def largest_weight(folder: Path) -> Weight | None:
    """Return a model's largest weight, by its safetensors files or else by its config: the embedding.

    Args:
        folder: the model's folder.

    Returns:
        None if the folder is not there, or neither says how large the weights are.
    """
    weights = [weight for path in sorted(folder.glob("*.safetensors")) for weight in _weights(path)]
    if not weights:
        config = _config(folder)
        rows, columns = config.get("vocab_size"), config.get("hidden_size")
        if isinstance(rows, int) and isinstance(columns, int):
            weights = [Weight(f"embedding of {rows} x {columns}", rows * columns)]
    return max(weights, key=lambda weight: weight.elements, default=None)


def stored_dtype(folder: Path) -> str | None:
    """Return the dtype in a model's config, such as "bfloat16"; None if there is none."""
    config = _config(folder)
    dtype = config.get("dtype") or config.get("torch_dtype")
    return dtype if isinstance(dtype, str) else None


def _config(folder: Path) -> dict[str, Any]:
    """The model's config, or that of its text part; empty if it cannot be read: verl's own message is better."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict):
        return {}
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def _weights(path: Path) -> Iterator[Weight]:
    """The weights of a safetensors file; none of a file that is damaged, which verl will say."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, entry in header.items():
            if name != "__metadata__":
                yield Weight(name, math.prod(entry["shape"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError):
        return
