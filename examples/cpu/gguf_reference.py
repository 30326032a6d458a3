"""Log-probabilities straight from a GGUF file's tensors: a second path, to check a conversion against.

The forward pass of a Llama in the layout of GGUF, from the file's names and numbers alone. It knows nothing of
transformers, whose conversion renames the tensors and reorders the rows of queries and keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = Callable[[str], Tensor]


def reference_log_probs(tensor: Tensors, fields: Mapping[str, Any], ids: Sequence[int]) -> Tensor:
    """Log-probabilities of the next token after each of `ids`, float32, shape (token, vocabulary).

    Args:
        tensor: function from a tensor's name to its values in float32.
        fields: the file's fields by name; its architecture is "llama".
        ids: token ids.

    Source: the GGUF specification, and Llama (arXiv 2302.13971) with grouped queries. GGUF rotates neighbouring pairs
    of a head's features.
    """

    def setting(name: str) -> Any:
        return fields[f"llama.{name}"]

    heads, groups = setting("attention.head_count"), setting("attention.head_count_kv")
    size = setting("rope.dimension_count")
    epsilon = setting("attention.layer_norm_rms_epsilon")
    angles = torch.outer(
        torch.arange(len(ids)).float(), setting("rope.freq_base") ** (-torch.arange(0, size, 2).float() / size)
    )
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]

    def normed(values: Tensor, name: str) -> Tensor:
        return values * (values.square().mean(-1, keepdim=True) + epsilon).rsqrt() * tensor(name)

    def rotated(values: Tensor) -> Tensor:
        pairs = torch.view_as_complex(values.reshape(*values.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turn).flatten(-2)

    embedding = tensor("token_embd.weight")
    hidden = embedding[list(ids)]
    hidden_from_later = torch.ones(len(ids), len(ids)).triu(1).bool()
    for number in range(setting("block_count")):
        block = f"blk.{number}."
        before = normed(hidden, block + "attn_norm.weight")
        query, key, value = (before @ tensor(f"{block}attn_{name}.weight").T for name in "qkv")
        query, key = rotated(query.view(len(ids), heads, size)), rotated(key.view(len(ids), groups, size))
        key = key.repeat_interleave(heads // groups, 1)
        value = value.view(len(ids), groups, size).repeat_interleave(heads // groups, 1)
        scores = torch.einsum("qhd,khd->hqk", query, key) / size**0.5
        mixed = scores.masked_fill(hidden_from_later, -torch.inf).softmax(-1)
        attended = torch.einsum("hqk,khd->qhd", mixed, value).flatten(1)
        hidden = hidden + attended @ tensor(block + "attn_output.weight").T
        before = normed(hidden, block + "ffn_norm.weight")
        gate, up = (before @ tensor(f"{block}ffn_{name}.weight").T for name in ("gate", "up"))
        hidden = hidden + (torch.nn.functional.silu(gate) * up) @ tensor(block + "ffn_down.weight").T
    hidden = normed(hidden, "output_norm.weight")
    try:
        head = tensor("output.weight")
    except KeyError:  # tied to the embedding
        head = embedding
    return (hidden @ head.T).log_softmax(-1)
