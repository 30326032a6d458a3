"""Credit by events: worked-out cases, what every split of a reward keeps, and exact gradients of tiny decisions.
Credit by components, GDPO and routing: numbers worked out by hand, and verl's own function."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tiers import in_full
from tiny_mdps import MDPS, Branch, TinyMdp, error
from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage, compute_rloo_outcome_advantage

from rest_verl.core.components import normalised_components, routed_advantages
from rest_verl.core.credit import (
    advantages_of,
    events_of,
    group_advantages,
    mean_of_others,
    scale_of,
    token_advantages,
)
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.components import Components
from rest_verl.weighting.step_batch import RowKey, StepBatch

amounts = st.floats(-3, 3, allow_subnormal=False)
decided = st.lists(st.tuples(st.integers(0, 9), amounts), max_size=5).map(sorted)
GROUPS = in_full(4_000, 40_000)


@given(amounts, decided)
def test_events_add_up_to_the_score(score, parts):
    events = events_of(score, 10, parts)
    assert events.amounts.sum() + events.outcome == pytest.approx(score, abs=1e-9)
    assert events.tokens[-1] == 9 and (np.diff(events.tokens) > 0).all()


@pytest.mark.parametrize(
    ("score", "tokens", "parts"),
    [
        (1.0, 5, [(5, 1.0)]),
        (1.0, 5, [(3, 1.0), (1, 0.0)]),
        (1.0, 5, [(-1, 1.0)]),
        (float("nan"), 5, []),
        (0.0, 0, [(0, 1.0)]),
    ],
)
def test_events_out_of_place_are_an_error(score, tokens, parts):
    with pytest.raises(ValueError, match=r"events at tokens|not finite"):
        events_of(score, tokens, parts)


def test_one_event_is_the_advantage_of_verls_rloo():
    scores = [1.0, 0.0, 0.25, 4.0]
    found = group_advantages([events_of(score, 3) for score in scores], lam=0.3, by_std=False)
    rewards, mask = torch.tensor(scores)[:, None] * torch.eye(3)[-1], torch.ones(4, 3)
    expected, _ = compute_rloo_outcome_advantage(rewards, mask, index=np.zeros(4, dtype=int))
    assert [float(one[0]) for one in found] == pytest.approx(expected[:, 0].tolist())


def test_two_turns_worked_out_by_hand():
    """Scores 1 + 0 + 0.5 and 0 + 1: the first turn counts 1 of 1.5 more than 0 of 1, the second 0 against 1."""
    first, second = events_of(1.5, 6, [(1, 1.0), (4, 0.0)]), events_of(1.0, 4, [(0, 0.0), (3, 1.0)])
    whole, other = group_advantages([first, second], lam=1.0, by_std=False)
    # amounts (1, 0, 0), outcome 0.5 against (0, 1), outcome 0: returns (1, 0, 0) against (1, 1), carried on as 1
    assert whole.tolist() == pytest.approx([0.0 + 0.5, -1.0 + 0.5, -1.0 + 0.5])
    assert other.tolist() == pytest.approx([0.0 - 0.5, 1.0 - 0.5])
    assert token_advantages(first, whole).tolist() == pytest.approx([0.5, 0.5, -0.5, -0.5, -0.5, -0.5])
    assert token_advantages(second, other).tolist() == pytest.approx([-0.5, 0.5, 0.5, 0.5])
    near, _ = group_advantages([first, second], lam=0.0, by_std=False)
    assert near[0] == pytest.approx(1.0 + 1.0 - 1.0 + 0.5)  # r_0 + m_1 - m_0 and the outcome


def test_everything_after_reasoning_reaches_back_to_it():
    """With lambda 0 the tokens before an event that ends reasoning have G_0 - m_0, and all others their own delta."""
    first = events_of(2.0, 6, [(1, 0.0, True), (3, 1.0), (4, 1.0)])
    second = events_of(0.0, 6, [(1, 0.0, True), (3, 0.0), (4, 0.0)])
    whole, _ = group_advantages([first, second], lam=0.0, by_std=False)
    assert whole.tolist() == pytest.approx([2.0, 1.0, 1.0, 0.0])
    plain, _ = group_advantages([events_of(2.0, 6, [(1, 0.0), (3, 1.0), (4, 1.0)]), second], lam=0.0, by_std=False)
    assert plain.tolist() == pytest.approx([0.0, 1.0, 1.0, 0.0])


def test_a_trajectory_alone_keeps_its_reward():
    (found,) = group_advantages([events_of(1.5, 4, [(1, 1.0)])], lam=1.0, by_std=True)
    assert found.tolist() == pytest.approx([1.5, 0.5])


def test_nothing_generated_is_still_a_critic():
    empty, other = events_of(0.0, 0), events_of(1.0, 2)
    found = group_advantages([empty, other], lam=1.0, by_std=False)
    assert [one.tolist() for one in found] == [[-1.0], [1.0]]
    assert len(token_advantages(empty, found[0])) == 0


def test_equal_scores_from_different_turns_have_a_finite_scale():
    group = [events_of(1.0, 4, [(1, 1.0), (3, 0.0)]), events_of(1.0, 4, [(1, 0.0), (3, 1.0)])]
    found = group_advantages(group, lam=1.0, by_std=True)
    assert np.abs(np.concatenate(found)).max() < 3


@given(st.lists(amounts, min_size=2, max_size=6))
def test_scale_of_single_events_is_grpos(scores):
    values = np.array(scores)
    found = scale_of(np.zeros((len(scores), 1)), np.ones(len(scores), dtype=int), values)
    assert float(found) == pytest.approx(float(torch.tensor(scores).double().std()) + 1e-6)


SIZES, CHANCES = in_full((2, 8), (2, 3, 4, 8, 16)), (0.5, 0.8)


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("size", SIZES)
def test_lambda_1_is_unbiased_and_no_worse_than_one_number(name, chance, size):
    """Within five standard errors of the exact gradient; mean squared error at most 2 % above the trajectory's."""
    mdp = MDPS[name]()
    policy = np.full((mdp.turns, mdp.states), chance)
    sampled = mdp.sample(policy, GROUPS, size, np.random.default_rng(0))
    scores = sampled.paid.sum(-1) + sampled.outcomes
    whole = (scores - mean_of_others(scores, -1))[..., None]
    bias, mse = error(mdp, policy, sampled, advantages_of(sampled.paid, sampled.counts, sampled.outcomes, 1.0))
    assert bias < 5 * (mse / GROUPS) ** 0.5
    assert mse <= 1.02 * error(mdp, policy, sampled, whole)[1]


def test_paid_turns_have_much_less_noise():
    mdp = MDPS["paid"]()
    policy = np.full((mdp.turns, mdp.states), 0.5)
    sampled = mdp.sample(policy, GROUPS, 4, np.random.default_rng(0))
    scores = sampled.paid.sum(-1) + sampled.outcomes
    _, whole = error(mdp, policy, sampled, (scores - mean_of_others(scores, -1))[..., None])
    errors = [
        error(mdp, policy, sampled, advantages_of(sampled.paid, sampled.counts, sampled.outcomes, lam))[1]
        for lam in (1.0, 0.5, 0.0)
    ]
    assert whole > 1.4 * errors[0] and errors == sorted(errors, reverse=True)


def indifferent(turns=4):
    """Stopping pays at once what going on pays turn by turn: nothing can be learnt."""

    def rule(turn, state, action):
        share = 1 / turns
        if turn == 0 and action == 0:
            return [Branch(1.0, None, paid=1.0)]
        return [Branch(1.0, 0 if turn < turns - 1 else None, paid=share)]

    return TinyMdp(turns, 1, rule)


@pytest.mark.parametrize("lam", [1.0])
def test_stopping_early_is_not_paid_for_where_it_earns_nothing(lam):
    mdp = indifferent()
    policy = np.full((mdp.turns, mdp.states), 0.5)
    sampled = mdp.sample(policy, GROUPS, 4, np.random.default_rng(0))
    ours = sampled.gradients(advantages_of(sampled.paid, sampled.counts, sampled.outcomes, lam), 1)[:, 0, 0]
    alive = np.arange(mdp.turns) < sampled.counts[..., None]
    centred = np.where(
        alive, sampled.paid - (sampled.paid * alive).sum(1, keepdims=True) / alive.sum(1, keepdims=True).clip(1), 0
    )
    others = sampled.gradients(centred, 1)[:, 0, 0]
    assert abs(ours.mean()) < 1e-9
    assert others.mean() < -0.05  # each turn's own score, centred, pays for stopping


ROOT = 0.5**0.5
ALL = torch.ones(2, len(Region), dtype=torch.bool)


def test_each_component_is_normalised_in_its_group():
    """Groups (0, 1) and (2, 3): components 1 and 0 are ±1/sqrt(2) apart from their means in units of the deviation."""
    components = torch.tensor([[1.0, 5.0], [0.0, 5.0], [2.0, 0.0], [6.0, 8.0]])
    found = normalised_components(components, torch.tensor([0, 0, 1, 1]), [1.0, 2.0])
    expected = torch.tensor([[ROOT, 0.0], [-ROOT, 0.0], [-ROOT, -2 * ROOT], [ROOT, 2 * ROOT]])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.1, 0.3, 1000 / 7])
def test_rounding_of_equal_components_is_no_advantage(value):
    """Seven trajectories that score alike: in single precision their mean is not quite their value."""
    regions = torch.zeros(7, 3, dtype=torch.int8)
    extra = [{"reward_extra_info": {"correctness": value, "format": 1.0}}] * 7
    keys = [RowKey("p", session, 0) for session in range(7)]
    batch = StepBatch(1, TaggedBatch(regions, torch.ones(7, 3)), extra_fields=extra, keys=keys)
    found = Components(["correctness", "format"], [1.0, 1.0], {}, by_std=True).advantages(batch)
    assert found.dtype == torch.float32 and found.abs().max() < 1e-5


def test_without_the_deviation_a_component_keeps_its_unit():
    found = normalised_components(torch.tensor([[1.0], [4.0]]), torch.tensor([7, 7]), [0.5], by_std=False)
    assert found.tolist() == [[-0.75], [0.75]]


def test_a_value_that_is_not_finite_leaves_the_others_as_they_are():
    components = torch.tensor([[1.0], [torch.nan], [0.0]])
    found = normalised_components(components, torch.tensor([0, 0, 0]), [1.0])
    torch.testing.assert_close(found, torch.tensor([[ROOT], [0.0], [-ROOT]]), atol=1e-5, rtol=0)


def test_terms_reach_the_regions_of_the_matrix_alone():
    """A = (3, 1) and (-3, -1), two trained tokens each: no mean, variance 4 * 16 / 3."""
    components = torch.tensor([[3.0, 1.0], [-3.0, -1.0]])
    regions = torch.tensor([[Region.NAME, Region.FORMAT, Region.NAME], [Region.FORMAT, Region.THINK, Region.NAME]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    reach = ALL.clone()
    reach[0, Region.FORMAT] = reach[1, Region.NAME] = reach[:, Region.THINK] = False
    scale = (64 / 3) ** -0.5
    expected = torch.tensor([[3.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]) * scale
    torch.testing.assert_close(routed_advantages(components, regions.to(torch.int8), mask, reach), expected)


def test_nothing_to_train_on_has_no_advantage():
    regions = torch.zeros(1, 3, dtype=torch.int8)
    for mask in ([[0, 0, 0]], [[1, 0, 0]]):
        assert not routed_advantages(torch.ones(1, 2), regions, torch.tensor(mask), ALL).any()


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 2), st.integers(1, 4)), min_size=2),
    st.booleans(),
    st.tuples(st.floats(0, 2), st.floats(0, 2)),
)
def test_all_to_all_is_verls_gdpo(rows, by_std, weights):
    """Groups of one included; values rounded, since verl's float32 sums differ from ours in their last bits."""
    values = torch.tensor([[round(first, 1), round(second, 1)] for first, second, *_ in rows])
    groups = torch.tensor([group for _, _, group, _ in rows])
    mask = torch.tensor([[1] * length + [0] * (4 - length) for *_, length in rows])
    if mask.sum() < 2:
        return
    regions = torch.arange(mask.numel()).reshape(mask.shape).remainder(len(Region)).to(torch.int8)
    found = routed_advantages(normalised_components(values, groups, weights, by_std), regions, mask, ALL)
    expected, _ = compute_gdpo_outcome_advantage(
        token_level_rewards=torch.zeros(mask.shape),
        response_mask=mask.float(),
        index=groups.numpy(),
        norm_adv_by_std_in_grpo=by_std,
        config=OmegaConf.create({"gdpo_reward_keys": ["a", "b"], "gdpo_reward_weights": list(weights)}),
        non_tensor_batch={"a": values[:, 0].numpy(), "b": values[:, 1].numpy()},
        batch={
            "prompts": torch.zeros(len(rows), 1),
            "attention_mask": torch.cat([torch.ones(len(rows), 1).long(), mask], 1),
        },
    )
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("scale", [0.1, 1e3])
def test_the_scale_of_a_component_has_no_part(scale):
    values = torch.tensor(np.linspace(0, 1, 8).reshape(4, 2))
    groups = torch.tensor([0, 0, 1, 1])
    scaled = values * torch.tensor([scale, 1.0])
    found = [normalised_components(one, groups, [1.0, 1.0]) for one in (values, scaled)]
    torch.testing.assert_close(*found, atol=2e-3, rtol=2e-3)
