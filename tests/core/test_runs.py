"""A batch as runs of tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.entropy import token_variance
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.runs import Runs, flattened, padded

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region


def runs_of(rows):
    """Runs, and what they are made of, from rows of (region, generated)."""
    tokens = [token for row in rows for token in row]
    regions = torch.tensor([region for region, _ in tokens], dtype=torch.int8)
    generated = torch.tensor([bool(bit) for _, bit in tokens], dtype=torch.bool)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    return Runs.of(regions, generated, lengths), regions, generated, lengths


ROWS = [[(FORMAT, 1), (THINK, 1), (THINK, 1), (OTHER, 0), (OTHER, 0), (NAME, 1)], [], [(NAME, 1)], [(OTHER, 1)] * 3]
token = st.tuples(st.sampled_from(list(Region)), st.booleans())
batches = st.lists(st.lists(token, max_size=12), min_size=1, max_size=5)


def test_runs_end_where_region_mask_or_response_change():
    runs, *_ = runs_of(ROWS)
    assert runs.tokens.tolist() == [[1, 2, 2, 1], [0] * 4, [1, 0, 0, 0], [3, 0, 0, 0]]
    assert runs.regions[0].tolist() == [FORMAT, THINK, OTHER, NAME]
    assert runs.generated[0].tolist() == [True, True, False, True]
    assert runs.lengths.tolist() == [6, 0, 1, 3]
    assert runs.tagged.counts.tolist() == [3, 2, 0, 1, 0, 2]


@given(batches)
def test_runs_spread_to_the_tokens_that_they_are_made_of(rows):
    runs, regions, generated, lengths = runs_of(rows)
    assert torch.equal(runs.spread(runs.regions), regions)
    assert torch.equal(runs.spread(runs.generated), generated)
    assert torch.equal(runs.lengths, lengths)


@given(batches)
def test_runs_travel_as_text(rows):
    runs, *_ = runs_of(rows)
    read = Runs.read(runs.written())
    assert torch.equal(read.regions, runs.regions)
    assert torch.equal(read.tokens, runs.tokens)
    assert torch.equal(read.generated, runs.generated)


@given(batches, st.data())
def test_another_mask_cuts_the_runs(rows, data):
    runs, regions, _, _ = runs_of(rows)
    mask = torch.tensor(data.draw(st.lists(st.sampled_from([0, 1]), min_size=len(regions), max_size=len(regions))))
    cut = runs.cut(mask.long())
    assert torch.equal(cut.spread(cut.generated), mask.bool())
    assert torch.equal(cut.spread(cut.regions), regions)


def test_runs_of_some_responses():
    runs, regions, _, _ = runs_of(ROWS)
    some = runs.rows([3, 0])
    assert torch.equal(some.spread(some.regions), torch.cat([regions[7:], regions[:6]]))


numbers = st.floats(0, 8, width=32) | st.just(float("nan")) | st.just(float("inf"))


@given(batches, st.data(), st.booleans())
def test_sums_over_runs_are_those_over_tokens(rows, data, exact):
    """Values that are not finite do not count, nor do tokens that were not generated."""
    runs, regions, generated, _ = runs_of(rows)
    drawn = st.lists(numbers, min_size=len(regions), max_size=len(regions))
    entropy = torch.tensor(data.draw(drawn), dtype=torch.float32)
    squares = torch.tensor(data.draw(drawn), dtype=torch.float32) / 8 if exact else None
    tokens = TaggedBatch(regions[None], generated[None])
    expected = [tokens.sums(values[None]) for values in (entropy, token_variance(entropy, squares))]
    for found, other in zip(runs.entropy_sums(entropy, squares), expected, strict=True):
        torch.testing.assert_close(found.sums, other.sums, rtol=1e-5, atol=1e-6)
        assert torch.equal(found.tokens, other.tokens)
    assert runs.sums(entropy).means() == pytest.approx(expected[0].means(), rel=1e-5)
    assert runs.not_finite(entropy) == int((generated & ~entropy.isfinite()).sum())


def test_sums_reach_over_more_tokens_than_the_cache_holds():
    rows = [[(THINK, 1)] * 70_000 + [(NAME, 1)] * 3, [(THINK, 1)] * 20_000]
    runs, regions, *_ = runs_of(rows)
    sums = runs.sums((regions == NAME).float() * 2 + (regions == THINK).float() * 0.1)
    assert sums.means() == pytest.approx({THINK: 0.1, NAME: 2.0}, rel=1e-6)


def test_padding_ends_each_response():
    values, lengths = torch.arange(1.0, 7.0), torch.tensor([3, 0, 2, 1])
    assert padded(values, lengths).tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 0], [6, 0, 0]]
    assert padded(values, lengths, 4)[0].tolist() == [1, 2, 3, 0]
    assert torch.equal(flattened(padded(values, lengths), lengths), values)
