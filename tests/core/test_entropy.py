"""The variance of the gradient by autograd, its bound by the entropy, and averages over steps."""

import itertools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2Config, Qwen2ForCausalLM

from rest_verl.core.entropy import RegionAverages, variance_bound, variance_exact
from rest_verl.core.regions import Region, TaggedBatch

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region


def expected_squared_gradient(logits):
    """E_{a~p} ||d log p(a) / dz||^2 the slow way: one backward pass for each a. (V,) float64 to a number."""
    probabilities = logits.softmax(-1)
    total = 0.0
    for action in range(len(logits)):
        z = logits.clone().requires_grad_()
        z.log_softmax(-1)[action].backward()
        total += float(probabilities[action] * (z.grad**2).sum())
    return total


def entropy_and_collision(logits):
    p = logits.softmax(-1)
    return -(p * p.clamp_min(1e-300).log()).sum(-1), (p**2).sum(-1)


@given(
    logits=st.lists(st.floats(-30, 30), min_size=1, max_size=12).map(lambda z: torch.tensor(z, dtype=torch.float64))
)
def test_the_variance_of_the_logit_gradient_is_one_minus_the_sum_of_squared_probabilities(logits):
    entropy, collision = entropy_and_collision(logits)
    assert expected_squared_gradient(logits) == pytest.approx(float(variance_exact(collision)), abs=1e-9)
    assert float(variance_exact(collision)) <= float(variance_bound(entropy)) + 1e-12


def test_identity_and_bound_hold_on_the_logits_of_a_language_model():
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, initializer_range=0.4,
    )  # fmt: skip
    ids = torch.randint(0, 64, (2, 8))
    logits = Qwen2ForCausalLM(config)(ids).logits.detach().double().flatten(0, 1)
    entropy, collision = entropy_and_collision(logits)
    exact, bound = variance_exact(collision), variance_bound(entropy)
    by_autograd = torch.tensor([expected_squared_gradient(row) for row in logits], dtype=torch.float64)
    torch.testing.assert_close(by_autograd, exact, rtol=1e-9, atol=1e-12)
    assert (exact <= bound).all()
    assert 0.05 < float(exact.min()) < float(exact.max()) < 1.0  # logits of every kind, not all alike


def test_the_bound_is_reached_by_uniform_distributions_and_by_certainty():
    for size in (1, 2, 10, 1000):
        entropy, collision = entropy_and_collision(torch.zeros(size, dtype=torch.float64))
        assert float(variance_exact(collision)) == pytest.approx(float(variance_bound(entropy)), abs=1e-12)
        assert float(variance_exact(collision)) == pytest.approx(1 - 1 / size, abs=1e-12)


def test_rounding_below_zero_gives_no_negative_variance():
    assert variance_bound(torch.tensor([-1e-6])).tolist() == [0.0]
    assert variance_exact(torch.tensor([1.0 + 1e-6])).tolist() == [0.0]


def batch_of(*regions):
    row = torch.tensor([regions], dtype=torch.int8)
    return TaggedBatch(row, torch.ones_like(row))


STEPS = itertools.count()


def updated(averages, regions, entropy):
    """After one more step."""
    batch, values = batch_of(*regions), torch.tensor([entropy])
    averages.update(next(STEPS), batch.sums(values), batch.sums(values / 10))
    return averages


def test_averages_begin_at_the_first_measurement_and_then_move():
    averages = updated(RegionAverages(decay=0.75), [FORMAT, THINK], [1.0, 3.0])
    assert averages.entropy == {FORMAT: 1.0, THINK: 3.0}
    updated(averages, [FORMAT, NAME, NAME], [2.0, 5.0, 7.0])
    assert averages.entropy == pytest.approx({FORMAT: 1.25, THINK: 3.0, NAME: 6.0})
    assert averages.variance == pytest.approx({FORMAT: 0.125, THINK: 0.3, NAME: 0.6})


def test_structure_is_format_and_names_by_token_and_keeps_its_first_value():
    averages = updated(RegionAverages(decay=0.5), [THINK], [9.0])
    assert (averages.structure, averages.structure_first) == (None, None)
    updated(averages, [FORMAT, NAME, NAME, ARGS], [1.0, 4.0, 4.0, 50.0])
    assert (averages.structure, averages.structure_first) == (3.0, 3.0)
    updated(averages, [FORMAT], [1.0])
    assert (averages.structure, averages.structure_first) == (2.0, 3.0)


def test_without_decay_each_batch_counts_alone():
    averages = updated(updated(RegionAverages(decay=0.0), [FORMAT], [1.0]), [FORMAT], [4.0])
    assert averages.entropy == {FORMAT: 4.0}


def test_a_restored_state_goes_on_as_if_it_had_not_been_stopped():
    whole = updated(updated(RegionAverages(decay=0.9), [FORMAT, THINK], [1.0, 3.0]), [NAME, THINK], [2.0, 1.0])
    first = updated(RegionAverages(decay=0.9), [FORMAT, THINK], [1.0, 3.0])
    second = RegionAverages(decay=0.9)
    second.restore(json.loads(json.dumps(first.state())))
    assert updated(second, [NAME, THINK], [2.0, 1.0]) == whole
