"""The tokens that end a turn and are no part of its text.

A tokenizer names one end of sequence, but a model may stop at several tokens: those in `eos_token_id` of its
generation_config.json, where the engine stops as well. Such a token, and any special token that is no markup of the
wire format, is no text at the very end of a turn: `[f(a=1)]<|eom|>` is a list of calls, and `<|eom|>` alone no answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Integer

from rest_verl.core.tool_calls import WireFormat

_FILE = "generation_config.json"


def stop_ids(tokenizer: Any, model: str | Path | None = None) -> frozenset[int]:
    """Ids at which the model stops: the tokenizer's end of sequence and padding, and those of generation_config.json.

    Args:
        tokenizer: a Hugging Face tokenizer, which knows the folder that it was loaded from.
        model: folder or hub name of the model, where that is another one.

    Raises:
        ValueError: a generation_config.json cannot be read.
    """
    found = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    for source in {str(model or ""), str(getattr(tokenizer, "name_or_path", None) or "")} - {""}:
        if (path := _config_of(source)) is not None:
            found |= _listed(path)
    return frozenset(found - {None})


def end_ids(tokenizer: Any, wire_format: WireFormat, stops: Collection[int]) -> frozenset[int]:
    """Ids that are no text at the very end of a turn.

    Args:
        tokenizer: a Hugging Face tokenizer.
        wire_format: its markup is text everywhere. Where it does not say what that is, only the stops end a turn.
        stops: result of `stop_ids`.
    """
    silent = {tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}  # they have no bytes anywhere
    added = tokenizer.added_tokens_decoder
    special = {number for number, token in added.items() if token.special} if wire_format.markup is not None else set()
    tags = wire_format.markup or ()

    def is_markup(number: int) -> bool:
        content = added[number].content.encode("utf-8", "surrogatepass") if number in added else b""
        return content != b"" and any(content in tag for tag in tags)

    return frozenset(silent | {number for number in special | set(stops) if not is_markup(number)})


def text_length(ids: Sequence[int] | Integer[np.ndarray, " token"], ends: Collection[int]) -> int:
    """Number of tokens of one turn before those that end it."""
    length = len(ids)
    while length and int(ids[length - 1]) in ends:
        length -= 1
    return length


def at_ends(
    ids: Integer[np.ndarray, " token"], edges: Int64[np.ndarray, " edge"], ends: Collection[int]
) -> Bool[np.ndarray, " token"]:
    """Which tokens end a turn, for many turns at once.

    Args:
        ids: the tokens of all turns.
        edges: turn k has the tokens [edges[k], edges[k + 1]), at least one.
        ends: result of `end_ids`.
    """
    positions = np.arange(len(ids))
    is_end = np.isin(ids, np.fromiter(ends, dtype=np.int64, count=len(ends)))
    last_of_text = np.maximum.accumulate(np.where(is_end, -1, positions)) if len(ids) else positions
    lengths = np.diff(edges)
    return positions > np.repeat(last_of_text[edges[1:] - 1], lengths) if len(lengths) else is_end


def _config_of(model: str) -> Path | None:
    """The generation_config.json of a folder, or of a model in the hub's cache; None if there is none."""
    if Path(model).is_dir():
        path = Path(model) / _FILE
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(model, _FILE)
    except ValueError:  # a path that does not exist is no name of the hub either
        return None
    return Path(cached) if isinstance(cached, str) else None


def _listed(path: Path) -> set[int]:
    """The ids in `eos_token_id`: one, a list, or none."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        given = config.get("eos_token_id")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: no JSON object ({error}); restore it from the model's repository") from None
    numbers = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{path}: eos_token_id={given!r:.80} must be an id or a list of ids")
    return set(numbers)
