"""Labelled turns as Qwen's tokens, cut as its tokenizer cuts them or at random, and what RegionTagger says of them.

The expected regions share nothing with the tagger: the bytes of a token come from the vocabulary file, the label of a
byte from the renderer, what a token touches from counting labelled bytes, the precedence from its list in `parts`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from unittest.mock import patch

import numpy as np
import torch
from parts import ARGS, NAME, OTHER, PRECEDENCE, Part, labels_of, text_of
from qwen import END_OF_TURN, PADDING, qwen_pieces, qwen_ranks, qwen_tokenizer

from rest_verl.core.regions import Region, RegionTagger
from rest_verl.core.tokens import TokenBytes
from rest_verl.formats import get_format

Cut = Callable[[list[bytes]], list[list[int]]]
LONGEST = 8  # bytes of the longest piece that is cut at random
TURNS, ROWS = 3, 256  # at most so many turns a row and rows a batch


@dataclass
class Count:
    """What came of tagging labelled turns.

    Attributes:
        tokens: of all turns.
        wrong: tokens whose region is not the expected one, end of turn, tool output and padding included.
        names: stretches of bytes labelled NAME that lie in tokens tagged NAME.
        arguments: stretches of bytes labelled ARGS that lie in tokens tagged ARGS, or NAME where a token touches both.
        example: the first wrong token of a turn with the text around it.
    """

    tokens: int
    wrong: int
    names: int
    arguments: int
    example: str

    def __str__(self) -> str:
        found = f"{self.names:,} names and {self.arguments:,} arguments found"
        return f"{found}, {self.wrong:,} of {self.tokens:,} tokens wrong"


def as_qwen(texts: list[bytes]) -> list[list[int]]:
    """The ids that Qwen's tokenizer gives."""
    encode = qwen_tokenizer().backend_tokenizer.encode_batch_fast
    return [encoding.ids for encoding in encode([text.decode() for text in texts], add_special_tokens=False)]


def at_random(texts: list[bytes]) -> list[list[int]]:
    """The ids of random pieces of at most `LONGEST` bytes, characters and tags cut anywhere; at every run the same."""
    ids, random = qwen_ranks(), np.random.default_rng(0)
    rows = []
    for text in texts:
        sizes = random.integers(1, LONGEST, len(text), endpoint=True).tolist()
        row, position = [], 0
        while position < len(text):
            size = sizes[position]
            while (token := ids.get(text[position : position + size])) is None:
                size -= 1  # ends at the latest at a single byte: each is a token
            row.append(token)
            position += size
        rows.append(row)
    return rows


def count_tagged(format: str, turns: list[list[Part]], tool_output: bytes, cut: Cut) -> Count:
    """Tag the turns in padded batches, one to three in a row with the tool's output between, and compare."""
    texts, piece_of = [text_of(turn) for turn in turns], qwen_pieces()
    *rows, output = cut([*texts, tool_output])
    pieces = [[piece_of[token] for token in row] for row in rows]
    assert [b"".join(row) for row in pieces] == texts
    ids = np.concatenate(rows)
    labels = np.concatenate([np.array(labels_of(turn), dtype=np.int8) for turn in turns])
    ends = np.cumsum([len(piece) for row in pieces for piece in row])
    expected = expected_regions(labels, ends)

    tagged, wrong, position = np.full_like(expected, -1), 0, 0
    for lengths in _batches([len(row) for row in rows]):
        size = sum(map(sum, lengths))
        regions, own = _tag(format, ids[position : position + size], lengths, output)
        tagged[position : position + size] = regions[own]
        wrong += int(np.count_nonzero(regions[~own]))
        position += size
    wrong += int(np.count_nonzero(tagged != expected))
    of_byte = np.repeat(tagged, np.diff(ends, prepend=0))
    names = _found(labels == NAME, of_byte == NAME)
    arguments = _found(labels == ARGS, (of_byte == ARGS) | (of_byte == NAME))
    return Count(len(ids), wrong, names, arguments, _first_wrong(b"".join(texts), tagged, expected, ends))


def expected_regions(labels: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Of each token the first region in precedence that one of its bytes is labelled with.

    Args:
        labels: (bytes,) of `Region`.
        ends: (tokens,) where each token ends; it begins where the one before it ends.
    """
    expected = np.full(len(ends), OTHER, dtype=np.int8)
    for region in reversed(PRECEDENCE):
        expected[_count(labels == region, np.concatenate([[0], ends[:-1]]), ends) > 0] = region
    return expected


def _batches(lengths: list[int]) -> list[list[list[int]]]:
    """Batches of rows of turns, each turn given by its length."""
    random, rest = np.random.default_rng(1), iter(lengths)
    groups = list(iter(lambda: list(islice(rest, int(random.integers(1, TURNS, endpoint=True)))), []))
    return [groups[first : first + ROWS] for first in range(0, len(groups), ROWS)]


def _tag(format: str, ids: np.ndarray, lengths: list[list[int]], output: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Regions of one batch, and which of its tokens are the turns' own: both (rows, width)."""
    end, padding = qwen_tokenizer().convert_tokens_to_ids([END_OF_TURN, PADDING])
    width = max(sum(row) + len(row) * (1 + len(output)) for row in lengths)
    batch = np.full((len(lengths), width), padding)
    own, mask = np.zeros(batch.shape, dtype=bool), np.zeros(batch.shape, dtype=np.int64)
    for row, turns in enumerate(lengths):
        position = 0
        for length in turns:
            stop = position + length
            own[row, position:stop] = True
            mask[row, position : stop + 1] = 1
            batch[row, stop] = end
            position = stop + 1 + len(output)
            batch[row, stop + 1 : position] = output
    batch[own] = ids
    return _tagger(format)(torch.from_numpy(batch), torch.from_numpy(mask)).numpy(), own


def _first_wrong(text: bytes, tagged: np.ndarray, expected: np.ndarray, ends: np.ndarray) -> str:
    wrong = np.flatnonzero(tagged != expected)
    if not len(wrong):
        return ""
    first = wrong[0]
    begin, end = (ends[first - 1] if first else 0), ends[first]
    got, due = Region(tagged[first]).name, Region(expected[first]).name
    return f"{text[begin:end]!r} is {got}, not {due}, behind {text[max(0, begin - 200) : begin]!r}"


@cache
def _tagger(format: str) -> RegionTagger:
    table = _table()
    with patch.object(TokenBytes, "from_tokenizer", lambda _: table):
        return RegionTagger(qwen_tokenizer(), get_format(format))


@cache
def _table() -> TokenBytes:
    """The bytes of Qwen's tokens, a second's work, once for all formats."""
    return TokenBytes.from_tokenizer(qwen_tokenizer())


def _found(labelled: np.ndarray, tagged: np.ndarray) -> int:
    """How many stretches of labelled bytes are tagged from the first to the last: both (bytes,) bool."""
    edges = np.diff(labelled, prepend=False, append=False).nonzero()[0]
    begins, ends = edges[::2], edges[1::2]
    return int(np.count_nonzero(_count(tagged, begins, ends) == ends - begins))


def _count(flags: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many flags are set in each stretch [begin, end)."""
    before = np.concatenate([[0], np.cumsum(flags)])
    return before[ends] - before[begins]
