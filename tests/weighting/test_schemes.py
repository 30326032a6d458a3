"""What each scheme makes of regions, measured variances and progress."""

import pytest
import torch

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import RestConfig
from rest_verl.config.weights import RegionTargets, RegionWeights
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.schemes import get_scheme, paper_weights, register_scheme, scheme_names
from rest_verl.weighting.step_batch import StepBatch

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region
REGIONS = torch.tensor([[FORMAT, THINK, THINK, NAME], [ARGS, THINK, OTHER, OTHER]], dtype=torch.int8)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
VARIANCE = torch.tensor([[0.05, 0.5, 0.4, 0.15], [0.3, 0.6, 0.0, 0.0]])
REGION_VARIANCE = {FORMAT: 0.05, THINK: 0.5, NAME: 0.15, ARGS: 0.3}


def batch(lam=0.0, step=1):
    tagged = TaggedBatch(REGIONS, MASK)
    return StepBatch(step, tagged, lam=lam, variance=VARIANCE, region_variance=REGION_VARIANCE)


def weigh(name, lam=0.0, **settings):
    return get_scheme(name).weigh(batch(lam), RestConfig(scheme=name, **settings)) * MASK


@pytest.mark.parametrize(
    ("step", "args", "think"),
    [(0, 0.6, 0.6), (50, 0.7, 0.7), (105, 0.81, 0.81), (200, 1.0, 1.0), (300, 1.2, 1.0), (5000, 1.2, 1.0)],
)
def test_scheme_paper_has_the_authors_weights(step, args, think):
    expected = {FORMAT: 1.0, THINK: think, NAME: 1.2, ARGS: args, RESPONSE: 0.0, OTHER: 0.0}
    assert paper_weights(RestConfig(), step) == pytest.approx(expected, abs=1e-12)


def test_settings_move_the_weights_of_scheme_paper():
    settings = RestConfig(
        weights=RegionWeights(name=Ramp(20.0), other=Ramp(1e-6), response=Ramp(-1.0)), clamp_min=0.5, clamp_max=4.0
    )
    weights = paper_weights(settings, 0)
    assert [weights[region] for region in (NAME, OTHER, RESPONSE, THINK)] == [4.0, 0.5, 0.0, 0.6]


def test_scheme_entropy_weighs_a_token_by_the_inverse_variance_of_its_region():
    weights = weigh("entropy", eps=0.05, clamp_max=100.0)
    torch.testing.assert_close(weights[0, 3] / weights[0, 0], torch.tensor(0.5))  # (0.05 + eps) / (0.15 + eps)
    torch.testing.assert_close(weights[0, 1] / weights[0, 0], torch.tensor(0.1 / 0.55))
    assert weights[0, 1] == weights[0, 2] == weights[1, 1]
    assert float(weights.sum()) == pytest.approx(float(MASK.sum()))


def test_scheme_token_weighs_a_token_by_its_own_inverse_variance():
    weights = weigh("token", eps=0.05, clamp_max=100.0)
    torch.testing.assert_close(weights[0, 1] / weights[0, 2], torch.tensor(0.45 / 0.55))
    assert float(weights.sum()) == pytest.approx(float(MASK.sum()))


@pytest.mark.parametrize("name", ["entropy", "token"])
def test_at_the_end_of_the_curriculum_the_targets_remain(name):
    weights = weigh(name, lam=1.0, targets=RegionTargets(think=1.5, args=2.0))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 1.5, 1.5, 1.0], [2.0, 1.5, 0.0, 0.0]]))


@pytest.mark.parametrize("name", ["entropy", "token"])
def test_a_negative_alpha_prefers_high_entropy(name):
    low, high = weigh(name, alpha=1.0), weigh(name, alpha=-1.0)
    assert low[0, 0] > low[0, 3] > low[0, 1]
    assert high[0, 0] < high[0, 3] < high[0, 1]


@pytest.mark.parametrize("name", ["entropy", "token"])
def test_positive_weights_are_clamped(name):
    weights = weigh(name, eps=1e-6, clamp_min=0.9, clamp_max=1.1)[MASK.bool()]
    torch.testing.assert_close(torch.stack([weights.min(), weights.max()]), torch.tensor([0.9, 1.1]))


def test_a_region_that_was_never_measured_does_not_disturb_the_others():
    assert torch.isfinite(weigh("entropy", lam=0.5)).all()


def test_an_unknown_scheme_is_answered_with_the_nearest_and_a_name_is_taken_once():
    with pytest.raises(ValueError, match="unknown scheme 'entropie': did you mean 'entropy'"):
        get_scheme("entropie")
    with pytest.raises(ValueError, match="'paper' is already registered"):
        register_scheme("paper")
    assert {"entropy", "paper", "token", "uniform"} <= set(scheme_names())


def test_entropy_weights_at_lam_zero_reduce_the_variance_of_a_simulated_gradient(capsys):
    """Score-function gradients of independent tokens of four regions, sampled from softmax policies."""
    generator = torch.Generator().manual_seed(0)
    # per region: tokens, and how much probability the 31 other tokens of the vocabulary share
    policies = {FORMAT: (40, 0.02), NAME: (20, 0.1), ARGS: (60, 0.3), THINK: (200, 0.8)}
    regions = torch.tensor([region for region, (count, _) in policies.items() for _ in range(count)], dtype=torch.int8)
    rest = torch.tensor([share for count, share in policies.values() for _ in range(count)])[:, None]
    probabilities = torch.cat([1 - rest, rest.expand(-1, 31) / 31], dim=1)
    variance = 1 - (probabilities**2).sum(-1)
    means = {region: float(variance[regions == region].mean()) for region in policies}
    tagged = TaggedBatch(regions[None], torch.ones(1, len(regions), dtype=torch.bool))
    seen = StepBatch(1, tagged, variance=variance[None], region_variance=means)
    draws = torch.multinomial(probabilities, 4000, replacement=True, generator=generator)  # (tokens, episodes)
    gradient = torch.nn.functional.one_hot(draws, 32) - probabilities[:, None]  # (tokens, episodes, vocabulary)

    def measured(weights):
        # tokens share the parameters, so their gradients add up; each has mean 0
        return float((weights[:, None, None] * gradient).sum(0).pow(2).sum(-1).mean())

    uniform = measured(torch.ones(len(regions)))
    least = len(regions) ** 2 / (float((1 / variance).sum()) * float(variance.sum()))
    reduced = {}
    for eps in (0.05, 1e-4):
        weights = get_scheme("entropy").weigh(seen, RestConfig(scheme="entropy", eps=eps))[0]
        weights *= len(regions) / weights.sum()  # equal total weight, whatever clamping did
        reduced[eps] = measured(weights) / uniform
    with capsys.disabled():
        shares = ", ".join(f"{share:.3f} at eps {eps}" for eps, share in reduced.items())
        print(f"\nvariance of the weighted gradient, uniform = 1: entropy {shares}; least possible {least:.3f}")
    assert reduced[0.05] < 0.8
    assert reduced[1e-4] == pytest.approx(least, rel=0.1)
