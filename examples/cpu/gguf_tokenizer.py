"""The tokenizer that a GGUF file describes, exactly: every text comes back from its ids.

It is made from the file's own fields. The conversion in transformers leaves a decoder that joins tokens before it
turns them into bytes, does not split the text as the model's own tokenizer did, and may name another end of sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiny_model import CHAT_TEMPLATE, TURN_END, TURN_START
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

# Types of tokens in a GGUF file: those with a role, such as the end of a turn, and those that a user added.
_CONTROL, _USER_DEFINED = 3, 4

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


def _byte_level(use_regex: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def _words(digits: int) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_WORDS % digits), behavior="isolated")
    return pre_tokenizers.Sequence([split, _byte_level(use_regex=False)])


# How a text is split before its pieces are merged, by the name in tokenizer.ggml.pre.
SPLITS = {
    "gpt-2": _byte_level(use_regex=True),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level(use_regex=True)]),
    "qwen2": _words(digits=1),
    "llama-bpe": _words(digits=3),
}


def tokenizer_of(fields: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """Make the tokenizer, with a chat template that has tools.

    Args:
        fields: the file's fields by name, such as "tokenizer.ggml.tokens".

    Raises:
        ValueError: it is not byte-level BPE, or splits text in a way that is not in SPLITS; or its chat template has
            no tools, and its turns are not those of ChatML, for which there is one here.
    """
    kind, split = fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or split not in SPLITS:
        raise ValueError(
            f"a GGUF file whose tokenizer is {kind!r} and splits text as {split!r} cannot be converted exactly; those "
            f"that can be: 'gpt2' with {', '.join(map(repr, SPLITS))}. Give the model's Hugging Face folder instead"
        )
    tokens = fields["tokenizer.ggml.tokens"]
    pairs = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    # Llama 3's tokenizer takes a piece that is a token as it is, whatever its merges would make of it.
    backend = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=split == "llama-bpe"))
    backend.pre_tokenizer, backend.decoder = SPLITS[split], decoders.ByteLevel()
    kinds = list(zip(tokens, fields["tokenizer.ggml.token_type"], strict=True))
    backend.add_special_tokens([_added(token, True) for token, kind in kinds if kind == _CONTROL])
    backend.add_tokens([_added(token, False) for token, kind in kinds if kind == _USER_DEFINED])
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    ids = {role: fields.get(f"tokenizer.ggml.{name}_token_id") for role, name in roles.items()}
    ids["pad_token"] = ids["eos_token"] if ids["pad_token"] is None else ids["pad_token"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        **{role: tokens[number] for role, number in ids.items() if number is not None},
    )
    tokenizer.chat_template = chat_template_of(fields)
    return tokenizer


def chat_template_of(fields: Mapping[str, Any]) -> str:
    """Return the file's own chat template if it has tools, else one for ChatML that has.

    Raises:
        ValueError: it has no tools, and the turns are not those of ChatML.
    """
    own = fields.get("tokenizer.chat_template", "")
    if "tools" in own:
        return own
    if not {TURN_START, TURN_END} <= set(fields["tokenizer.ggml.tokens"]):
        raise ValueError(
            f"the GGUF file's chat template has no tools, and its vocabulary lacks {TURN_START} and {TURN_END}: give "
            "the model's Hugging Face folder, with a chat template that has tools"
        )
    return CHAT_TEMPLATE


def _added(token: str, special: bool) -> AddedToken:
    return AddedToken(token, special=special, normalized=False)
