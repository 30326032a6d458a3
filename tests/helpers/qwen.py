"""Qwen's byte-level BPE, real ids for real text, from the vocabulary file inside the package `dashscope`."""

import base64
import importlib.util
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

END_OF_TURN, PADDING = "<|im_end|>", "<|endoftext|>"
# tokens of their own in Qwen3, in this order, but not special ones: they are part of a turn's text
TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")

# dashscope is never imported: it is a client of a web service, and its vocabulary file is all that is wanted
_PACKAGE = importlib.util.find_spec("dashscope")
MISSING = None if _PACKAGE else "needs Qwen's vocabulary: pip install --no-deps dashscope"


@cache
def qwen_ranks() -> dict[bytes, int]:
    """The id of each token that is not an added one, by its bytes: all 256 single bytes are among them."""
    assert _PACKAGE is not None and _PACKAGE.origin is not None, MISSING
    lines = (Path(_PACKAGE.origin).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}


@cache
def qwen_pieces() -> list[bytes]:
    """The bytes of each id, read from the file and not from a tokenizer; none for the end of a turn and padding."""
    ranks = qwen_ranks()
    return [*sorted(ranks, key=ranks.__getitem__), b"", b"<|im_start|>", b"", *(tag.encode() for tag in TAGS)]


@cache
def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen's tokenizer without its normaliser: sampled text is never normalised, so rendered text must not be."""
    ranks = qwen_ranks()
    character = bytes_to_unicode()
    name = {token: "".join(character[byte] for byte in token) for token in ranks}
    # Every way of putting a token together from two others is a merge, of the rank of the token.
    merges = [
        (ranks[token], ranks[token[:cut]], name[token[:cut]], name[token[cut:]])
        for token in ranks
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    vocabulary = {name[token]: rank for token, rank in ranks.items()}
    bpe = Tokenizer(models.BPE(vocabulary, [merge[2:] for merge in sorted(merges)], ignore_merges=True))
    words = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([PADDING, "<|im_start|>", END_OF_TURN])
    bpe.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END_OF_TURN, pad_token=PADDING)
