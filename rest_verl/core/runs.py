"""A batch as runs: stretches of tokens of one response that have one region and are all generated, or all not.

A response of thousands of tokens has some tens of runs. Whatever depends on regions alone (weights, normalisation,
metrics) is worked out once for each run, and what is measured of each token is summed over them in one pass. The
tokens themselves lie flat: those of one response after those of another, without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8, Int64, Integer, Shaped
from torch import Tensor

from rest_verl.core.entropy import token_variance
from rest_verl.core.regions import Region, RegionSums, TaggedBatch, sum_by

CHUNK = 1 << 16  # tokens that stay in the cache between two passes over them
_GENERATED = 8  # in a code, next to the region
_WRITTEN = np.dtype([("code", "u1"), ("tokens", ">u4")])  # a run as text: its bytes in hexadecimal


@dataclass(frozen=True)
class Runs:
    """The runs of a batch, response by response.

    Attributes:
        regions: the `Region` of each run.
        tokens: how many tokens it has; 0 after the last run of a response.
        generated: whether the policy generated them.
    """

    regions: Int8[Tensor, "batch run"]
    tokens: Int64[Tensor, "batch run"]
    generated: Bool[Tensor, "batch run"]

    @classmethod
    def of(
        cls,
        regions: Int8[Tensor, " token"],
        generated: Bool[Tensor, " token"],
        lengths: Integer[Tensor, " batch"],
    ) -> Runs:
        """Find the runs of tagged tokens.

        Args:
            regions: the `Region` of each token.
            generated: whether the policy generated it.
            lengths: number of tokens of each response.
        """
        codes = regions.numpy() | generated.numpy().astype(np.int8) * _GENERATED
        starts = np.concatenate([[0], np.cumsum(lengths.numpy())])
        begins = np.ones(len(codes), dtype=bool)
        np.not_equal(codes[1:], codes[:-1], out=begins[1:])
        begins[starts[:-1][lengths.numpy() > 0]] = True
        at = np.flatnonzero(begins)
        in_rows = np.diff(np.searchsorted(at, starts))
        return cls._of_codes(codes[at], np.diff(at, append=len(codes)), in_rows)

    @classmethod
    def _of_codes(
        cls, codes: Int8[np.ndarray, " run"], tokens: Int64[np.ndarray, " run"], in_rows: Int64[np.ndarray, " batch"]
    ) -> Runs:
        """Runs one after the other, so many for each response."""
        shape = (len(in_rows), int(in_rows.max(initial=0)))
        alive = np.arange(shape[1]) < in_rows[:, None]
        table, counts = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.int64)
        table[alive], counts[alive] = codes, tokens
        regions, generated = table % _GENERATED, table >= _GENERATED
        return cls(torch.from_numpy(regions), torch.from_numpy(counts), torch.from_numpy(generated))

    @classmethod
    def read(cls, texts: Sequence[str]) -> Runs:
        """The runs of responses from what `written` gave for each; ValueError if it is no such text."""
        found = np.frombuffer(bytes.fromhex("".join(texts)), dtype=_WRITTEN)
        in_rows = np.array([len(text) for text in texts], dtype=np.int64) // (2 * _WRITTEN.itemsize)
        return cls._of_codes(found["code"].astype(np.int8), found["tokens"].astype(np.int64), in_rows)

    def written(self) -> list[str]:
        """The runs of each response as text, to travel with it."""
        codes = (self.regions + self.generated * _GENERATED).numpy()
        table = np.empty(codes.shape, dtype=_WRITTEN)
        table["code"], table["tokens"] = codes, self.tokens.numpy()
        return [row[tokens > 0].tobytes().hex() for row, tokens in zip(table, self.tokens.numpy(), strict=True)]

    @cached_property
    def lengths(self) -> Int64[Tensor, " batch"]:
        """Number of tokens of each response."""
        return self.tokens.sum(dim=-1)

    @cached_property
    def tagged(self) -> TaggedBatch:
        """The batch with a run in each place."""
        return TaggedBatch(self.regions, self.tokens * self.generated)

    def cut(self, mask: Shaped[Tensor, " token"]) -> Runs:
        """These runs by another mask, such as that of rollout correction: 1 for each token that counts."""
        trained = mask.bool()
        same = torch.equal(self.spread(self.generated), trained)
        return self if same else Runs.of(self.spread(self.regions), trained, self.lengths)

    def rows(self, chosen: Sequence[int]) -> Runs:
        """The runs of some responses."""
        at = torch.tensor(chosen, dtype=torch.int64)
        return Runs(self.regions[at], self.tokens[at], self.generated[at])

    def spread(self, values: Shaped[Tensor, "batch run"]) -> Shaped[Tensor, " token"]:
        """The value of each token's run."""
        return torch.from_numpy(np.repeat(values.numpy()[self._alive], self._tokens))

    def not_finite(self, values: Float[Tensor, " token"]) -> int:
        """Number of generated tokens whose value is NaN or infinite."""
        if bool(values.sum().isfinite()):  # most often: one pass that writes nothing
            return 0
        return int((self.spread(self.generated) & ~values.isfinite()).sum())

    def sums(self, values: Float[Tensor, " token"]) -> RegionSums:
        """Sums of a quantity over the generated tokens of each region."""
        return self._sums(lambda tokens: [values[tokens].float()], 1)[0]

    def entropy_sums(
        self, entropy: Float[Tensor, " token"], sum_pi_squared: Float[Tensor, " token"] | None = None
    ) -> tuple[RegionSums, RegionSums]:
        """Sums of the entropy and of V over the generated tokens of each region.

        Args:
            entropy: in nats.
            sum_pi_squared: sum of squared probabilities, which makes V exact instead of bounded by the entropy.
        """

        def measured(tokens: slice) -> list[Float[Tensor, " stretch"]]:
            found = entropy[tokens].float()
            return [found, token_variance(found, None if sum_pi_squared is None else sum_pi_squared[tokens].float())]

        entropies, variances = self._sums(measured, 2)
        return entropies, variances

    @cached_property
    def _alive(self) -> Bool[np.ndarray, "batch run"]:
        return self.tokens.numpy() > 0

    @cached_property
    def _tokens(self) -> Int64[np.ndarray, " run"]:
        return self.tokens.numpy()[self._alive]

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " run"]:
        return np.cumsum(self._tokens)

    @cached_property
    def _index(self) -> Int64[Tensor, " run"]:
        """Of each run its region, one past the last region where it is not generated."""
        masked = self.regions.masked_fill(~self.generated, len(Region))
        return torch.from_numpy(masked.numpy()[self._alive]).long()

    def _sums(self, measured: Callable[[slice], list[Float[Tensor, " stretch"]]], quantities: int) -> list[RegionSums]:
        """Sums of quantities over the generated tokens of each region, in one pass. Within a run pairwise and in
        single precision, over runs in double.

        Args:
            measured: gives the quantities of a stretch of tokens.
            quantities: how many it gives.
        """
        ends, tokens = self._ends, np.tile(self._tokens, (quantities, 1))
        sums = np.zeros(tokens.shape)
        first, begin = 0, 0
        while first < len(ends):
            last = max(int(np.searchsorted(ends, begin + CHUNK, side="right")), first + 1)
            begins = ends[first:last] - self._tokens[first:last]
            for row, values in zip(sums, measured(slice(begin, int(ends[last - 1]))), strict=True):
                row[first:last] = np.add.reduceat(values.numpy(), begins - begin)
            first, begin = last, int(ends[last - 1])
        for quantity, run in np.argwhere(~np.isfinite(sums)):
            values = measured(slice(int(ends[run] - self._tokens[run]), int(ends[run])))[quantity]
            finite = values[values.isfinite()]
            sums[quantity, run], tokens[quantity, run] = float(finite.sum(dtype=torch.float64)), len(finite)
        return [
            RegionSums(*(sum_by(self._index, torch.from_numpy(of), len(Region) + 1)[: len(Region)] for of in both))
            for both in zip(sums, tokens, strict=True)
        ]


def padded(
    values: Shaped[Tensor, " token"], lengths: Integer[Tensor, " batch"], width: int | None = None
) -> Shaped[Tensor, "batch width"]:
    """Tokens that lie flat as a row for each response, with 0 after its last token.

    Args:
        lengths: number of tokens of each response.
        width: of a row; default: the longest response.
    """
    longest = int(lengths.max()) if len(lengths) else 0
    width = longest if width is None else width
    if len(values) == len(lengths) * width:
        return values.reshape(len(lengths), width)
    rows = values.new_zeros(len(lengths), width)
    rows[torch.arange(width) < lengths[:, None]] = values
    return rows


def flattened(values: Shaped[Tensor, "batch width"], lengths: Integer[Tensor, " batch"]) -> Shaped[Tensor, " token"]:
    """The reverse of `padded`."""
    return values[torch.arange(values.shape[1]) < lengths[:, None]]
