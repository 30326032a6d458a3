"""What a preview must assume, since only training shows it: the number of tokens and the entropy of each region."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from rest_verl.common.names import unknown_name
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.states import OUTSIDE
from rest_verl.weighting.step_batch import Row, RowKey, StepBatch

ENTROPY = {
    Region.FORMAT: 0.02,
    Region.NAME: 0.1,
    Region.ARGS: 0.3,
    Region.THINK: 0.9,
    Region.RESPONSE: 0.9,
    Region.OTHER: 0.9,
}
LONGEST = 1_000_000  # tokens per row


@dataclass(frozen=True)
class Assumed:
    """A batch that represents those of training.

    Attributes:
        rows: number of tokens of each region in each row; at least one row, none empty.
        entropy: entropy of each region's tokens in nats, for all regions.
        stated: regions whose entropy was given and is not a default.
    """

    rows: Sequence[Mapping[Region, int]]
    entropy: Mapping[Region, float]
    stated: Collection[Region] = ()

    def entropies(self, batch: TaggedBatch) -> torch.Tensor:
        """Entropy of each token of a batch: (B, T) float32, nats."""
        return torch.tensor([self.entropy[region] for region in Region])[batch.regions.int()]

    def step_batch(self, step: int, batch: TaggedBatch) -> StepBatch:
        """A batch with all that a scheme may need: entropies, log-probabilities that are their negatives, as on
        average, and rows that are the right answers of one group, of one turn each and without a malformed call."""
        entropy = self.entropies(batch)
        keys = [RowKey("prompt", session, 0) for session in range(len(entropy))]
        return StepBatch(
            step,
            batch,
            entropy,
            old_log_prob=-entropy,
            rollout_log_prob=-entropy,
            advantages=torch.ones(entropy.shape),
            keys=keys,
            rows=[Row(key, 1.0, {"acc": 1.0}, (), ("start",)) for key in keys],
            malformed=torch.zeros(entropy.shape),
        )

    def by_state(self) -> Assumed:
        """The same batch by the state of its tokens (`core.states`): what is outside of all spans is one state. Unless
        its entropy is stated, it has the mean of those that it unites."""
        merged = (OUTSIDE, Region.OTHER)
        counts = {region: sum(row.get(region, 0) for row in self.rows) for region in merged}
        outside = self.entropy[OUTSIDE]
        if OUTSIDE not in self.stated and any(counts.values()):
            outside = sum(count * self.entropy[one] for one, count in counts.items()) / sum(counts.values())
        rows = [
            {region: count for region, count in row.items() if region not in merged}
            | {OUTSIDE: sum(row.get(region, 0) for region in merged)}
            for row in self.rows
        ]
        return Assumed(rows, {**self.entropy, OUTSIDE: outside}, self.stated)


def batch_of(rows: Sequence[Mapping[Region, int]]) -> TaggedBatch:
    """A batch of rows with the given numbers of tokens per region; shorter rows are padded on the right.

    Returns:
        (B, T), with B rows and T the number of tokens of the longest.
    """
    tokens = [[region for region in Region for _ in range(row.get(region, 0))] for row in rows]
    longest = max(map(len, tokens))
    regions = torch.tensor([row + [Region.OTHER] * (longest - len(row)) for row in tokens], dtype=torch.int8)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in tokens])
    return TaggedBatch(regions, mask)


def read_tokens(text: str) -> dict[Region, int]:
    """Parse `--tokens format=12,name=6`; regions that are not named have no tokens.

    Raises:
        ValueError: a region is unknown, or a number is not a count of tokens.
    """
    row: dict[Region, int] = {}
    for region, number in _pairs("--tokens", text):
        if not number.isascii() or not number.isdigit() or int(number) > LONGEST:
            raise ValueError(f"--tokens {region.label}={number}: expected a whole number from 0 to {LONGEST}")
        row[region] = int(number)
    if not any(row.values()):
        raise ValueError(f"--tokens {text}: the row is empty: give at least one region more than 0 tokens")
    return row


def read_entropy(text: str) -> dict[Region, float]:
    """Parse `--entropy think=0.9,args=0.3`, in nats.

    Raises:
        ValueError: a region is unknown, or a number is not an entropy.
    """
    entropy: dict[Region, float] = {}
    for region, number in _pairs("--entropy", text):
        try:
            entropy[region] = float(number)
        except ValueError:
            entropy[region] = math.nan
        if not 0 <= entropy[region] < math.inf:
            raise ValueError(f"--entropy {region.label}={number}: expected nats, 0 or more")
    return entropy


def _pairs(option: str, text: str) -> list[tuple[Region, str]]:
    names = {region.label: region for region in Region}
    pairs: dict[Region, str] = {}
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        if not equals:
            raise ValueError(f"{option} {part.strip()!r}: expected REGION=NUMBER, as in {option} think=1,args=1")
        if name not in names:
            raise ValueError(f"{option}: {unknown_name('region', name, names)}")
        if names[name] in pairs:
            raise ValueError(f"{option}: {name} is given twice: keep one")
        pairs[names[name]] = number
    return list(pairs.items())
