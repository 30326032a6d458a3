"""Rules published elsewhere, by numbers worked out by hand from their equations."""

import math

import pytest
import torch

from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.advantage import reshape_advantages
from rest_verl.weighting.schemes import PUBLISHED, get_scheme
from rest_verl.weighting.step_batch import Row, RowKey, StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

NAN = math.nan


def batch_of(mask, keys=None, rows=(), **fields):
    """A batch of THINK tokens; keys are by default those of one group."""
    keys = keys or [RowKey("a", session, 0) for session in range(len(mask))]
    mask = torch.tensor(mask)
    tagged = TaggedBatch(torch.full(mask.shape, int(Region.THINK), dtype=torch.int8), mask)
    return StepBatch(1, tagged, keys=keys, rows=rows, **{name: torch.tensor(value) for name, value in fields.items()})


def weighed(scheme, batch, **settings):
    """The weights of a scheme without normalisation, as its preset has it."""
    return TokenWeighting(RestConfig(scheme=scheme, normalisation="none", cap=None, **settings), 10)(batch)


def rows_of(*scores, states=(), key=lambda session: RowKey("a", session, 0)):
    return [
        Row(key(session), score, {"acc": score}, (), states[session] if states else ())
        for session, score in enumerate(scores)
    ]


def test_each_published_scheme_cites_its_paper():
    """All but the penalty for malformed calls, which no paper defines."""
    cited = {name for name in PUBLISHED if "arXiv" in get_scheme(name).weigh.__doc__}
    assert set(PUBLISHED) - cited == {"malformed_penalty"}


# 80/20


def test_top_fifth_trains_the_tokens_of_greatest_entropy():
    """A fifth of the 10 generated tokens is two: 0.9 and 0.8. What a tool wrote has none, however uncertain."""
    entropy = [[0.1, 0.2, 0.9, 9.0, 0.3, 0.1], [0.4, 0.8, 0.0, 0.5, 0.6, 9.0]]
    weights = weighed("top_fifth", batch_of([[1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 0]], entropy=entropy))
    assert weights.tolist() == [[0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]]


def test_of_equal_entropies_top_fifth_takes_no_more_than_its_share():
    weights = weighed("top_fifth", batch_of([[1] * 10], entropy=[[0.5] * 10]))
    assert weights.tolist() == [[1.0, 1.0, *[0.0] * 8]]


# STARE

SURPRISAL = [[1.0, 4.0, 2.0, 3.0], [5.0, 1.0, 2.0, 9.0]]
STARE = {
    "mask": [[1, 1, 1, 1], [1, 1, 1, 0]],
    "old_log_prob": [[-one for one in row] for row in SURPRISAL],
    "advantages": [[0.5] * 4, [-0.5] * 4],
}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [[1, 1.1, 1, 1], [1, 1, 1, 0]]),
        ({"attenuate": 0.9}, [[1, 1.1, 1, 1], [0.9, 1, 1, 0]]),
        ({"share": 0.5, "amplify": 2.0}, [[1, 2, 1, 2], [1, 1, 1, 0]]),
    ],
)
def test_stare_reweights_the_most_surprising_of_each_sign(settings, expected):
    """A tenth of four tokens, rounded up, is one; the masked token of surprisal 9 does not count."""
    batch = batch_of(entropy=[[0.2] * 4] * 2, **STARE)
    found = weighed("stare", batch, stare=settings)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_stare_rests_where_the_entropy_has_reached_its_target():
    batch = batch_of(entropy=[[0.31] * 4] * 2, **STARE)
    assert weighed("stare", batch).tolist() == [[1] * 4, [1, 1, 1, 0]]


# GEPO


def test_gepo_divides_by_the_expected_probability_of_the_group():
    """q = 0.5 and 0.25 in one group: E_q[q] = (0.25 + 0.0625) / 0.75 = 5/12. p = 0.5 and 0.5. The other group has one
    response, with p = q = 0.2."""
    q = [[math.log(0.25), math.log(1.0)], [math.log(0.25), 0.0], [math.log(0.2), math.log(0.2)]]
    p = [[math.log(0.5), math.log(0.5)], [math.log(0.5), 0.0], [math.log(0.2), math.log(0.2)]]
    keys = [RowKey("a", 0, 0), RowKey("a", 1, 0), RowKey("b", 0, 0)]
    weights = weighed("gepo", batch_of([[1, 1], [1, 0], [1, 1]], keys, old_log_prob=p, rollout_log_prob=q))
    torch.testing.assert_close(weights, torch.tensor([[1.2, 1.2], [1.2, 0.0], [1.0, 1.0]]))


def test_gepo_takes_the_turns_of_a_trajectory_together():
    """Two rows of one trajectory have its geometric mean, sqrt(0.5 * 0.125) = 0.25, and count once in the group."""
    log_prob = [[math.log(0.5)], [math.log(0.125)], [math.log(0.5)]]
    keys = [RowKey("a", 0, 0), RowKey("a", 0, 1), RowKey("a", 1, 0)]
    weights = weighed("gepo", batch_of([[1]] * 3, keys, old_log_prob=log_prob, rollout_log_prob=log_prob))
    expected = (0.25**2 + 0.5**2) / 0.75
    torch.testing.assert_close(weights[:, 0], torch.tensor([0.25, 0.25, 0.5]) / expected)


def test_a_response_without_trained_tokens_is_not_in_gepos_group():
    log_prob = [[math.log(0.5)], [math.log(0.9)]]
    weights = weighed("gepo", batch_of([[1], [0]], old_log_prob=log_prob, rollout_log_prob=log_prob))
    torch.testing.assert_close(weights, torch.tensor([[1.0], [0.0]]))


# turn_discounted


def test_turn_discounted_counts_the_turns_to_come():
    """Three turns in the first trajectory, over two rows; one in the second."""
    keys = [RowKey("a", 0, 0), RowKey("a", 0, 1), RowKey("a", 1, 0)]
    batch = batch_of([[1, 0, 1], [1, 1, 0], [1, 1, 1]], keys)
    weights = weighed("turn_discounted", batch, turn_discounted={"gamma": 0.5})
    assert weights.tolist() == [[0.25, 0.0, 0.5], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]


# malformed_penalty


def test_the_penalty_falls_on_the_broken_tokens_alone():
    batch = batch_of([[1, 1, 1, 0]], malformed=[[0, 1, 1, 1]])
    weights = weighed("malformed_penalty", batch, malformed_penalty={"penalty": 0.5})
    assert weights.tolist() == [[1.0, 1.0, 1.0, 0.0]]
    assert batch.token_credit.tolist() == [[0.0, -0.5, -0.5, 0.0]]


# GTPO


def shaped(batch):
    """The advantages that GTPO leaves: w A + c."""
    weights = weighed("gtpo", batch)
    return reshape_advantages(batch.advantages, weights) + batch.token_credit


def test_gtpo_shares_the_reward_of_the_right_by_entropy():
    """At the first position 3/4 and 1/4 of 2, at the second 1/4 and 3/4: r = 1.15, 1.05, 1.05, 1.15, mean 1.1,
    deviation 0.05."""
    advantages = shaped(
        batch_of(
            [[1, 1], [1, 1]], rows=rows_of(1.0, 1.0), entropy=[[3.0, 1.0], [1.0, 3.0]], advantages=[[0.7] * 2] * 2
        )
    )
    torch.testing.assert_close(advantages, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))


def test_gtpo_blames_the_wrong_by_the_inverse_of_their_entropy():
    """1/H = 0.25 and 1: shares 0.2 and 0.8 of 2, so r = -1.04 and -1.16: mean -1.1, deviation 0.06."""
    advantages = shaped(
        batch_of(
            [[1, 1], [1, 1]], rows=rows_of(0.0, 0.0), entropy=[[4.0, 1.0], [1.0, 4.0]], advantages=[[0.0] * 2] * 2
        )
    )
    torch.testing.assert_close(advantages, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))


def test_gtpo_counts_positions_by_generated_token_and_side():
    """The second token of the first response stands after a tool's, next to the other's second; the third of the
    second response has no other, and its share is all: r = 1.15, 1.05; 1.05, 1.15, 1.1. The wrong response is alone at
    each position: all its rewards are equal, and A' is 0."""
    batch = batch_of(
        [[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]],
        rows=rows_of(1.0, 1.0, 0.0),
        entropy=[[3.0, 9.0, 1.0, 0.0], [1.0, 3.0, 5.0, 0.0], [1.0, 2.0, 0.0, 0.0]],
        advantages=[[0.5] * 4, [0.5] * 4, [-1.0] * 4],
    )
    deviation = math.sqrt(4 * 0.05**2 / 5)
    one = 0.05 / deviation
    expected = [[one, 0, -one, 0], [-one, one, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(shaped(batch), torch.tensor(expected, dtype=torch.float32), atol=1e-5, rtol=0)


def test_groups_of_gtpo_are_apart():
    """The same two right responses, in two groups: each is alone with its tokens, which all have the reward 1.1."""
    keys = [RowKey("a", 0, 0), RowKey("b", 0, 0)]
    rows = [Row(key, 1.0, {"acc": 1.0}) for key in keys]
    batch = batch_of([[1, 1], [1, 1]], keys, rows, entropy=[[3.0, 1.0], [1.0, 3.0]], advantages=[[0.7] * 2, [0.7] * 2])
    torch.testing.assert_close(shaped(batch), torch.zeros(2, 2), atol=1e-6, rtol=0)


def test_gtpo_bears_an_entropy_of_0():
    batch = batch_of(
        [[1, 1]] * 3,
        rows=rows_of(1.0, 0.0, 0.0),
        entropy=[[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]],
        advantages=[[0.0] * 2] * 3,
    )
    assert shaped(batch).isfinite().all()


# GiGPO

# Two turns each, but three in the last; "shop" is visited three times, once twice by the same trajectory.
GIGPO = {
    "mask": [[1, 0, 1, 1, 0, 0], [1, 1, 0, 1, 0, 0], [1, 0, 1, 0, 1, 0]],
    "rows": rows_of(1.0, 0.0, 1.0, states=[("door", "shop"), ("door", "till"), ("door", "shop", "shop")]),
}


def test_gigpo_compares_the_turns_of_one_state():
    """With gamma 0.5 the returns are 0.5, 1; 0, 0; 0.25, 0.5, 1. door: mean 0.25; shop: 1, 0.5, 1, mean 5/6; till was
    visited once."""
    batch = batch_of(**GIGPO)
    weights = weighed("gigpo", batch, gigpo={"gamma": 0.5, "omega": 2.0})
    expected = [
        [0.5, 0, 2 / 6, 2 / 6, 0, 0],
        [-0.5, -0.5, 0, 0, 0, 0],
        [0, 0, -4 / 6, 0, 2 / 6, 0],
    ]
    torch.testing.assert_close(batch.token_credit, torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(weights, batch.response_mask.float())


def test_gigpo_divides_by_the_deviation_of_a_state_if_asked():
    batch = batch_of(**GIGPO)
    weighed("gigpo", batch, gigpo={"gamma": 0.5, "by_std": True})
    # door: 0.25, -0.25, 0 with deviation 0.25
    torch.testing.assert_close(batch.token_credit[:, 0], torch.tensor([1.0, -1.0, 0.0]), atol=1e-4, rtol=0)


def test_states_of_other_groups_are_other_states():
    keys = [RowKey(uid, 0, 0) for uid in "ab"]
    rows = [Row(key, score, {}, (), ("door",)) for key, score in zip(keys, (1.0, 0.0), strict=True)]
    batch = batch_of([[1], [1]], keys, rows)
    weighed("gigpo", batch)
    assert batch.token_credit.tolist() == [[0.0], [0.0]]


def test_gigpo_finds_the_turn_of_a_row_that_is_one_turn():
    """With per_turn, the second row is the second turn: it was generated in the second state."""
    keys = [RowKey("a", 0, 0), RowKey("a", 0, 1), RowKey("a", 1, 0), RowKey("a", 1, 1)]
    states = [("door", "shop"), ("door", "till")]
    rows = [Row(key, 1.0 - key.session, {}, (), states[key.session]) for key in keys]
    batch = batch_of([[1, 1]] * 4, keys, rows)
    weighed("gigpo", batch, gigpo={"gamma": 1.0})
    assert batch.token_credit.tolist() == [[0.5, 0.5], [0.0, 0.0], [-0.5, -0.5], [0.0, 0.0]]


def test_gigpo_without_any_state_is_an_error():
    """It would be plain GRPO without a word."""
    with pytest.raises(ValueError, match=r"no environment of this batch names its states: .*state_name\(\)"):
        weighed("gigpo", batch_of([[1], [1]], rows=rows_of(1.0, 0.0)))


# What is not finite


@pytest.mark.parametrize("scheme", [*PUBLISHED, "wiener"])
@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_one_number_that_is_not_finite_spreads_nowhere(scheme, value):
    numbers = {name: [[0.5, 0.4, 0.3], [0.2, 0.3, 0.1]] for name in ("entropy", "advantages")}
    numbers |= {name: [[-0.5, -0.4, -0.3], [-0.2, -0.3, -0.1]] for name in ("old_log_prob", "rollout_log_prob")}
    for field in numbers:
        broken = [[value, *numbers[field][0][1:]], numbers[field][1]]
        rows = [
            Row(RowKey("a", session, 0), score, {"acc": score}, (), ("door",))
            for session, score in enumerate((value, 1.0))
        ]
        batch = batch_of([[1, 1, 1]] * 2, rows=rows, malformed=[[0, 1, 0]] * 2, **numbers | {field: broken})
        weights = weighed(scheme, batch)
        assert weights.isfinite().all()
        assert batch.token_credit is None or batch.token_credit.isfinite().all()
