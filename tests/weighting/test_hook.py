"""What a scheme sees of a batch and what it may return; the signal of regions, and `wiener`."""

import json
import math

import pytest
import torch

from rest_verl.config.published import WienerConfig
from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.rows import finite_rows, rows_of
from rest_verl.weighting.schemes import Weighed, get_scheme, register_scheme
from rest_verl.weighting.step_batch import Row, RowKey, StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region
NAN, INF = math.nan, math.inf
EVERYTHING = frozenset({"entropy", "old_log_prob", "rollout_log_prob", "advantages", "rows", "signal"})
REGIONS = [[THINK, THINK, NAME], [THINK, THINK, NAME]]
KEYS = [RowKey("a", 0, 0), RowKey("a", 1, 0)]


def batch_of(regions=REGIONS, mask=None, step=1, keys=KEYS, **fields):
    mask = torch.ones(len(regions), len(regions[0]), dtype=torch.long) if mask is None else torch.tensor(mask)
    values = {name: value if name == "rows" else torch.tensor(value) for name, value in fields.items()}
    return StepBatch(step, TaggedBatch(torch.tensor(regions, dtype=torch.int8), mask), keys=keys, **values)


def full(**changes):
    """A batch with all that a scheme may need."""
    numbers = {name: [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]] for name in ("entropy", "advantages")}
    numbers |= {name: [[-0.5] * 3] * 2 for name in ("old_log_prob", "rollout_log_prob")}
    return batch_of(**numbers | {"rows": [Row(key, 1.0, {"acc": 1.0}, (0.5,)) for key in KEYS]} | changes)


@pytest.fixture
def shown(own_names):
    """Function from a batch and needs to what a scheme with these needs sees of the batch."""

    def show(batch, needs=EVERYTHING):
        seen = []
        name = f"looks_{len(needs)}"
        register_scheme(name, needs=needs)(lambda one, _: seen.append(one) or torch.ones(one.regions.shape))
        TokenWeighting(RestConfig(scheme=name), total_steps=4)(batch)
        return seen[0]

    return show


def test_a_scheme_sees_all_that_it_declares(shown):
    seen = shown(full())
    assert seen.old_log_prob.tolist() == seen.rollout_log_prob.tolist() == [[-0.5] * 3] * 2
    assert seen.entropy[0, 0] == seen.advantages[0, 0] == 0.5
    assert (seen.rows[1].key.uid, seen.rows[1].score, seen.rows[1].turn_scores) == ("a", 1.0, (0.5,))
    assert (seen.step, seen.progress, seen.turns.tolist()) == (1, 0.25, [[0] * 3] * 2)
    assert seen.region_entropy[THINK] == 0.5 and seen.region_variance[NAME] == pytest.approx(1 - math.exp(-0.5))


def test_a_scheme_does_not_see_what_it_does_not_declare(shown):
    """Else it would work in a run that happens to read a field, and fail in the next."""
    seen = shown(full(), needs=())
    assert [seen.entropy, seen.old_log_prob, seen.rollout_log_prob, seen.advantages] == [None] * 4
    assert seen.rows == () and seen.region_signal == {}


@pytest.mark.parametrize(
    ("need", "meaning"),
    [
        ("entropy", "the policy's entropy"),
        ("old_log_prob", "the log-probabilities of the old policy"),
        ("rollout_log_prob", "the log-probabilities of the rollout"),
        ("advantages", "the advantages"),
        ("rows", "what is known of its rows"),
    ],
)
def test_a_batch_without_what_a_scheme_needs_is_refused(shown, need, meaning):
    with pytest.raises(ValueError, match=f"needs {meaning}, and the batch has none"):
        shown(batch_of(), needs={need})


def test_a_need_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="unknown need 'advantage': did you mean 'advantages'"):
        register_scheme("greedy", needs={"advantage"})


@pytest.mark.parametrize("field", ["entropy", "old_log_prob", "rollout_log_prob", "advantages"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_scheme_sees_the_average_of_the_region_for_what_is_not_finite(shown, field, value):
    """The mean of the other THINK tokens, 1, 2 and 3; the value itself stays in the batch, where it is counted."""
    batch = full(**{field: [[value, 1.0, 9.0], [2.0, 3.0, 9.0]]})
    seen = getattr(shown(batch), field)
    assert seen.tolist() == [[2.0, 1.0, 9.0], [2.0, 3.0, 9.0]]
    assert not getattr(batch, field).isfinite().all()


def test_a_region_without_any_finite_value_has_the_average_of_all(shown):
    seen = shown(full(old_log_prob=[[1.0, 2.0, NAN], [NAN, 3.0, NAN]]))
    assert seen.old_log_prob.tolist() == [[1.0, 2.0, 2.0], [2.0, 3.0, 2.0]]
    assert (shown(full(old_log_prob=[[NAN] * 3] * 2), needs={"old_log_prob"}).old_log_prob == 0).all()


def test_a_score_that_is_not_finite_is_that_of_its_group():
    keys = [RowKey("a", 0, 0), RowKey("a", 1, 0), RowKey("a", 2, 0), RowKey("b", 0, 0)]
    rows = [Row(key, score, {"acc": score}) for key, score in zip(keys, [NAN, 1.0, 3.0, INF], strict=True)]
    found = finite_rows(rows)
    assert [row.score for row in found] == [2.0, 1.0, 3.0, 0.0]
    assert [row.components for row in found] == [{}, {"acc": 1.0}, {"acc": 3.0}, {}]


def test_the_rows_of_a_trajectory_have_what_its_last_row_says():
    """With per_turn, agent loop and reward manager speak of a trajectory in its last output alone."""
    keys = [RowKey("a", 0, 1), RowKey("a", 0, 0), RowKey("a", 1, 0)]
    last = {"reward_extra_info": {"acc": 1.0, "rest_events": "[]"}, "rest_turn_scores": [0.5, 0.25]}
    rows = rows_of(keys, [1.0, 1.0, 0.0], [last, {}, {"reward_extra_info": {"acc": 0.0}}])
    assert [row.components for row in rows] == [{"acc": 1.0}, {"acc": 1.0}, {"acc": 0.0}]
    assert [row.turn_scores for row in rows] == [(0.5, 0.25), (0.5, 0.25), ()]


def test_turns_are_counted_over_the_whole_trajectory():
    """Two turns in the first output; the second output, which comes first in the batch, is the third turn."""
    keys = [RowKey("a", 0, 1), RowKey("a", 0, 0), RowKey("b", 0, 0)]
    batch = batch_of([[THINK] * 4] * 3, [[1, 1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 1]], keys=keys)
    assert batch.turns.tolist() == [[2, 2, -1, -1], [0, -1, 1, 1], [-1, 0, -1, 1]]


# What a scheme returns


def weighing(own_names, credit, **settings):
    """A weighting whose scheme gives every token weight 2 and this credit."""

    def weigh(batch, _):
        return Weighed(torch.full(batch.regions.shape, 2.0), torch.tensor(credit))

    register_scheme("crediting", gives_credit=True)(weigh)
    return TokenWeighting(RestConfig(scheme="crediting", **settings), total_steps=4)


def test_credit_is_left_as_it_is_and_0_where_masked(own_names):
    """Normalisation scales weights alone: a credit has the units of the advantages."""
    batch = batch_of(mask=[[1, 1, 1], [1, 1, 0]])
    weights = weighing(own_names, [[-3.0, 0.0, 1.0], [2.0, 0.0, NAN]])(batch)
    assert batch.token_credit.tolist() == [[-3.0, 0.0, 1.0], [2.0, 0.0, 0.0]]
    assert weights.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]


def test_a_credit_that_is_not_finite_is_an_error_and_not_a_wrong_update(own_names):
    with pytest.raises(ValueError, match=r"rest\.scheme=crediting gave a credit that is not finite at step 1"):
        weighing(own_names, [[NAN] * 3] * 2)(batch_of())


def test_credit_that_was_not_announced_is_refused(own_names):
    """Else apply_in=loss would lose it without a word."""
    register_scheme("silent")(lambda batch, _: Weighed(torch.ones(2, 3), torch.ones(2, 3)))
    with pytest.raises(ValueError, match=r"rest\.scheme=silent gave credit: register it with gives_credit=True"):
        TokenWeighting(RestConfig(scheme="silent"), 4)(batch_of())
    register_scheme("loud", gives_credit=True)(lambda batch, _: torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"rest\.scheme=loud gave no credit: register it without gives_credit=True"):
        TokenWeighting(RestConfig(scheme="loud"), 4)(batch_of())


# wiener

# Two trajectories with u = 1 and 2 in THINK, 0.5 and 0 in NAME, at H = 1. The advantages are 3 and -1.
SIGNAL = {
    "entropy": [[1.0] * 3] * 2,
    "old_log_prob": [[-0.5, -0.5, -0.5], [0.0, 0.0, -1.0]],
    "advantages": [[3.0] * 3, [-1.0] * 3],
}
# THINK: (3 * 1 - 1 * 2)^2 / (3^2 + 2^2) = 1/13; NAME: 1.5^2 / 1.5^2 = 1
THINK_NOW, NAME_NOW = 1 / 13, 1.0


def wiener(**settings):
    found = WienerConfig(**{"base": 0.2, "min_trajectories": 2, "min_squares": 0.1} | settings)
    return TokenWeighting(RestConfig(scheme="wiener", decay=0.5, normalisation="none", wiener=found), total_steps=10)


def test_the_signal_of_a_region_is_t_squared():
    weighting = wiener()
    weighting(batch_of(**SIGNAL))
    assert weighting.state()["signal"] == pytest.approx({"THINK": THINK_NOW, "NAME": NAME_NOW})


def test_wiener_weighs_by_the_ratio_of_signal_to_noise():
    """t^2 = 4 is q = 3 and w = 0.2 + 0.8 * 3/4; t^2 below 1 is no signal; FORMAT was never measured."""
    batch = batch_of([[THINK, NAME, FORMAT]], keys=())
    batch.region_signal = {THINK: 4.0, NAME: 0.5}
    weights = get_scheme("wiener").weigh(batch, RestConfig(scheme="wiener"))
    torch.testing.assert_close(weights, torch.tensor([[0.8, 0.2, 0.5]]))


def test_wiener_weights_are_known_before_the_batch():
    """The batches of a step, whatever they hold, have the weights that the steps before it gave."""
    one, other = wiener(), wiener()
    for weighting in (one, other):
        assert weighting(batch_of(**SIGNAL)).unique().tolist() == [1.0]
    loud = SIGNAL | {"advantages": [[3.0] * 3, [2.0] * 3]}
    first = one(batch_of(step=2, **SIGNAL))
    assert torch.equal(other(batch_of(step=2, **loud)), first)
    assert torch.equal(other(batch_of(step=2, **SIGNAL)), first)  # the second batch of this step
    assert not torch.equal(one(batch_of(step=3, **SIGNAL)), other(batch_of(step=3, **SIGNAL)))


def test_the_batches_of_a_step_are_measured_together():
    """The trajectories of both batches are in one t: it is not the average of two."""
    weighting, keys = wiener(), [RowKey("b", 0, 0), RowKey("b", 1, 0)]
    weighting(batch_of(**SIGNAL))
    weighting(batch_of(keys=keys, **SIGNAL))
    assert weighting.state()["signal"]["THINK"] == pytest.approx(2**2 / 26)
    weighting(batch_of(step=2, **SIGNAL))
    assert weighting.state()["signal"]["THINK"] == pytest.approx(0.5 * 4 / 26 + 0.5 / 13)


def test_the_rows_of_one_trajectory_are_one_sample():
    """They share their reward: counted by itself, each would pass for a sample of its own."""
    keys = [RowKey("a", 0, 0), RowKey("a", 0, 1), RowKey("a", 1, 0)]
    fields = {
        "entropy": [[1.0]] * 3,
        "old_log_prob": [[-0.5], [-0.5], [1.0]],
        "advantages": [[3.0], [3.0], [-1.0]],
    }
    weighting = wiener()
    weighting(batch_of([[THINK]] * 3, keys=keys, **fields))
    assert weighting.state()["signal"]["THINK"] == pytest.approx((3 - 2) ** 2 / (9 + 4))


@pytest.mark.parametrize(
    ("settings", "measured"),
    [
        ({}, {"THINK", "NAME"}),
        ({"min_squares": 1.0}, {"THINK"}),  # u^2 is 5 in THINK, 0.25 in NAME
        ({"min_squares": 6.0}, set()),
        ({"min_trajectories": 3}, set()),
    ],
)
def test_a_region_with_too_little_is_not_measured(settings, measured):
    weighting = wiener(**settings)
    weighting(batch_of(**SIGNAL))
    assert set(weighting.state()["signal"]) == measured


def test_advantages_of_zero_measure_nothing():
    weighting = wiener()
    weighting(batch_of(**SIGNAL | {"advantages": [[0.0] * 3] * 2}))
    assert weighting.state()["signal"] == {}


@pytest.mark.parametrize("field", ["entropy", "old_log_prob", "advantages"])
def test_a_token_that_is_not_finite_is_left_out_of_the_signal(field):
    broken = [list(row) for row in SIGNAL[field]]
    broken[0][2] = NAN
    weighting = wiener()
    weighting(batch_of(**SIGNAL | {field: broken}))
    # without the first trajectory's NAME, one trajectory is left there
    assert weighting.state()["signal"] == pytest.approx({"THINK": THINK_NOW})


def test_a_resumed_wiener_run_continues_exactly():
    whole, first, second = wiener(), wiener(), wiener()
    for weighting in (whole, first):
        weighting(batch_of(**SIGNAL))
    second.restore(json.loads(json.dumps(first.state())))
    for step in (2, 3):
        assert torch.equal(whole(batch_of(step=step, **SIGNAL)), second(batch_of(step=step, **SIGNAL)))
    assert whole.state() == second.state()


@pytest.mark.parametrize("saved", [{"THINK": -1.0}, {"THINK": NAN}, {"THINK": "1"}, {"THINKING": 1.0}])
def test_a_saved_signal_that_is_none_is_refused(saved):
    weighting = wiener()
    with pytest.raises(ValueError, match=r"signal of THINK is|there is no region"):
        weighting.restore(weighting.state() | {"signal": saved})
