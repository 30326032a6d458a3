"""Load a tokenizer for a command: from a folder, or by its hub id from Hugging Face's cache; never over a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def load_tokenizer(name: str) -> Any:
    """Load a tokenizer with transformers.

    Args:
        name: a model's folder, or its id on the hub, such as Qwen/Qwen3-4B.

    Raises:
        ValueError: there is none; the message says how to get it.
    """
    from transformers import AutoTokenizer

    folder = Path(name).expanduser()
    if not folder.is_dir() and not _HUB_ID.fullmatch(name):
        raise ValueError(f"{name}: no such folder; give a model's folder, or its hub id, such as Qwen/Qwen3-4B")
    try:
        return AutoTokenizer.from_pretrained(str(folder) if folder.is_dir() else name, local_files_only=True)
    except (OSError, ValueError) as error:
        if folder.is_dir():
            reason = str(error).partition("\n")[0]
            raise ValueError(f"no tokenizer can be read from {name} ({reason})") from None
        raise ValueError(
            f"{name}: no such folder, and no model of that name in the Hugging Face cache. Fetch its tokenizer: "
            f"hf download {name} --exclude '*.safetensors'"
        ) from None
