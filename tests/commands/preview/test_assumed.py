"""The batch that a preview assumes, as options say it."""

import pytest
import torch

from rest_verl.commands.preview.assumed import ENTROPY, Assumed, batch_of, read_entropy, read_tokens
from rest_verl.core.regions import Region

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region


def test_rows_have_the_tokens_that_are_said_and_are_padded_to_the_longest():
    batch = batch_of([{NAME: 1, FORMAT: 2}, {THINK: 1}])
    assert batch.regions.tolist() == [[FORMAT, FORMAT, NAME], [THINK, OTHER, OTHER]]
    assert batch.response_mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_each_token_has_the_entropy_of_its_region():
    assumed = Assumed([{THINK: 1, NAME: 1}], ENTROPY | {THINK: 0.5, NAME: 0.25})
    assert torch.equal(assumed.entropies(batch_of(assumed.rows)), torch.tensor([[0.5, 0.25]]))


def test_regions_that_are_not_named_have_no_token_and_keep_their_entropy():
    assert read_tokens("think=80, args=30") == {THINK: 80, ARGS: 30}
    assert read_entropy("think=1.5") == ENTROPY | {THINK: 1.5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thnk=1", "--tokens: unknown region 'thnk': did you mean 'think'? allowed: args, format,"),
        ("think", "--tokens 'think': expected REGION=NUMBER"),
        ("think=1.5", "--tokens think=1.5: expected a whole number from 0 to 1000000"),
        ("think=-1", "--tokens think=-1: expected a whole number"),
        ("think=9999999", "--tokens think=9999999: expected a whole number"),
        ("think=1,think=2", "--tokens: think is given twice"),
        ("think=0", "--tokens think=0: the row is empty"),
    ],
)
def test_tokens_that_cannot_be_are_refused_with_the_option(text, said):
    with pytest.raises(ValueError) as refused:
        read_tokens(text)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("number", ["-0.1", "nan", "inf", "much"])
def test_entropies_that_cannot_be_are_refused_with_the_option(number):
    with pytest.raises(ValueError, match=f"--entropy think={number}: expected nats, 0 or more"):
        read_entropy(f"think={number}")
