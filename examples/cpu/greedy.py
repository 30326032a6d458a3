"""How well a model answers BFCL's questions, greedily and in process: its shares of legal and of right responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from reasoned_answers import due_kind

from rest_verl.bfcl.verdict.checker import check_calls
from rest_verl.core.tokens import TokenBytes
from rest_verl.data.rows import Row
from rest_verl.formats import get_format
from rest_verl.formats.tools import tools_of_row
from rest_verl.reward.response import read_response


@dataclass(frozen=True)
class Marks:
    """What came of one data source's questions, or of all.

    Attributes:
        questions: their number.
        legal: share of responses that are legal turns of the kind that is due.
        right: share of right responses, by BFCL's own verdict.
    """

    questions: int
    legal: float
    right: float


@torch.no_grad()
def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    max_tokens: int,
    batch_size: int,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[bytes]:
    """The greedy response to each prompt, up to its end of sequence or `max_tokens`, as bytes.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        prompts: token ids of each prompt.
        max_tokens: tokens after which a response is cut off.
        batch_size: prompts at a time.
        on_progress: called with the number of responses so far.
    """
    table = TokenBytes.from_tokenizer(tokenizer)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found: dict[int, bytes] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        width = max(len(prompts[index]) for index in chosen)
        ids = torch.full((len(chosen), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, index in enumerate(chosen):
            ids[row, width - len(prompts[index]) :] = torch.tensor(prompts[index])
            mask[row, width - len(prompts[index]) :] = 1
        written = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )[:, width:].cpu()
        for row, index in enumerate(chosen):
            response = written[row].tolist()
            if tokenizer.eos_token_id in response:
                response = response[: response.index(tokenizer.eos_token_id)]
            found[index] = table.decode(np.array(response, dtype=np.int64))
        on_progress(len(found))
    return [found[index] for index in range(len(prompts))]


def marks(rows: Sequence[Row], responses: Sequence[bytes], format: str) -> dict[str, Marks]:
    """Marks by data source, and of all rows under "all"."""
    wire_format = get_format(format)
    judged: dict[str, list[tuple[bool, bool]]] = {}
    for row, text in zip(rows, responses, strict=True):
        truth = json.loads(row["reward_model"]["ground_truth"])
        response = read_response([text], wire_format, tools_of_row(row["extra_info"]))
        wrong = check_calls(truth["functions"], response.readable, truth["possible_answer"], truth["category"])
        judged.setdefault(row["data_source"], []).append((response.is_legal(due_kind(row)), wrong is None))
    everything = [pair for pairs in judged.values() for pair in pairs]
    return {source: _mean(pairs) for source, pairs in [*sorted(judged.items()), ("all", everything)]}


def _mean(pairs: Sequence[tuple[bool, bool]]) -> Marks:
    legal, right = zip(*pairs, strict=True)
    return Marks(len(pairs), sum(legal) / len(pairs), sum(right) / len(pairs))
