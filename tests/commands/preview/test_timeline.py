"""Weights and reward bounds over a run, against numbers worked out by hand, and the batch that a preview assumes."""

from math import log

import pytest
import torch

from rest_verl.commands.preview.assumed import ENTROPY, Assumed, batch_of, read_entropy, read_tokens
from rest_verl.commands.preview.run import Run
from rest_verl.commands.preview.timeline import POINTS, curve_steps, moving_ramps, reward_bounds, timeline
from rest_verl.config.rest import load
from rest_verl.core.regions import Region

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region
ROW = {FORMAT: 1, NAME: 1, ARGS: 1, THINK: 1}


def preview(rest, rows=(ROW,), entropy=ENTROPY, total=None, steps=None, estimator="rest", manager="rest_tool"):
    run = Run(load({"rest": rest}), estimator, manager, total)
    return timeline(run, Assumed(rows, entropy), steps)


def test_the_paper_s_weights_are_its_ramps_and_a_row_keeps_its_total():
    (shown,) = preview({"normalisation": "row"}, steps=[100]).shown
    # 0.6 + 0.002 * 100
    before = {FORMAT: 1.0, NAME: 1.2, ARGS: 0.8, THINK: 0.8, RESPONSE: 0.0, OTHER: 0.0}
    assert shown.before == pytest.approx(before)
    assert shown.after == [pytest.approx({r: before[r] * 4 / 3.8 for r in ROW})]
    assert shown.lam is None


def test_measured_weights_follow_the_assumed_entropies():
    # V is 0 and 1/2, so 1 / (V + 0.05) is 20 and 1 / 0.55: scaled to mean 1 over one token each, 11/6 and 1/6
    entropy = ENTROPY | {FORMAT: 0.0, THINK: log(2)}
    found = preview({"scheme": "entropy"}, [{FORMAT: 1, THINK: 1}], entropy, total=100, steps=[50, 100])
    half, end = found.shown
    assert (half.lam, end.lam) == (0.5, 1.0)
    # 1 and 1.2 are the targets; at lam = 1/2 the weight is their geometric mean with the structural weight
    assert end.after == [pytest.approx({FORMAT: 2 / 2.2, THINK: 2 * 1.2 / 2.2})]
    assert half.before[FORMAT] == pytest.approx((11 / 6) ** 0.5)
    assert half.before[THINK] == pytest.approx((1.2 / 6) ** 0.5)


def test_a_region_without_tokens_is_weighed_by_one_token_in_a_further_row():
    entropy = ENTROPY | {FORMAT: 0.0, NAME: 0.0, ARGS: 0.0, THINK: 0.0, RESPONSE: 0.0, OTHER: log(2)}
    rest = {"scheme": "entropy", "curriculum": {"kind": "constant", "high": 0.0}}
    (shown,) = preview(rest, [{FORMAT: 1}], entropy, steps=[1]).shown
    assert shown.before[FORMAT] == pytest.approx(1.0)
    # six tokens, five of raw weight 20 and one of 1 / 0.55
    assert shown.before[OTHER] == pytest.approx(6 * (1 / 0.55) / (5 * 20 + 1 / 0.55))
    assert list(shown.after[0]) == [FORMAT]


def test_rows_of_a_batch_are_normalised_as_training_does_it():
    rows = [{NAME: 1, OTHER: 3}, {NAME: 2}]
    (by_row,) = preview({"weights_from": "token", "normalisation": "row"}, rows, steps=[1]).shown
    (positive,) = preview({"weights_from": "token", "normalisation": "positive"}, rows, steps=[1]).shown
    (batch,) = preview({"weights_from": "state"}, rows, steps=[1]).shown
    assert [row[NAME] for row in by_row.after] == pytest.approx([4.0, 1.0])
    # 3 tokens outside of all spans with weight 1, 3 of a name with weight 1.2: 6 tokens / 6.6
    assert batch.after == [pytest.approx({NAME: 1.2 / 1.1, FORMAT: 1 / 1.1}), pytest.approx({NAME: 1.2 / 1.1})]
    # mean 1 over the three weighted tokens, then 6 tokens / 3
    assert [row[NAME] for row in positive.after] == pytest.approx([2.0, 2.0])


def test_an_adaptive_curriculum_is_shown_over_the_entropy_that_is_left():
    rest = {"scheme": "entropy", "curriculum": {"kind": "adaptive", "low": 0.2, "high": 0.8}}
    found = preview(rest)
    assert [one.moment.entropy_left for one in found.shown] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert [one.lam for one in found.shown] == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8])


def test_an_adaptive_curriculum_without_structure_tokens_is_refused():
    with pytest.raises(ValueError, match=r"--tokens: curriculum adaptive follows format and name tokens"):
        preview({"scheme": "entropy", "curriculum": {"kind": "adaptive"}}, [{THINK: 1}])


def test_a_curriculum_over_a_fraction_needs_the_length_of_the_run():
    with pytest.raises(ValueError, match=r"rest.curriculum.kind=linear moves over a fraction.*--total-steps"):
        preview({"scheme": "entropy"})


def test_a_curriculum_over_steps_needs_no_length_and_is_shown_to_its_end():
    found = preview({"scheme": "entropy", "curriculum": {"unit": "step", "begin": 0, "end": 200}}, manager="naive")
    assert [(one.moment.step, one.lam) for one in found.shown] == [
        (1, 1 / 200),
        (50, 0.25),
        (100, 0.5),
        (150, 0.75),
        (200, 1.0),
    ]


def test_without_a_length_steps_end_where_the_last_ramp_does():
    # args: (1.2 - 0.6) / 0.002; without weights the reward's bounds, which take 150
    assert preview({}).steps == [1, 75, 150, 225, 300]
    assert preview({}, estimator="grpo").steps == [1, 38, 75, 112, 150]
    assert preview({}, total=4).steps == [1, 2, 3, 4]


def test_the_curve_has_every_step_of_a_short_run_and_both_ends_of_a_long_one(monkeypatch):
    monkeypatch.setattr("rest_verl.commands.preview.timeline.POINTS", POINTS)
    assert curve_steps(1) == [1]
    assert curve_steps(150) == list(range(1, 151))
    long = curve_steps(10_000)
    assert (long[0], long[-1], len(long)) == (1, 10_000, 201)


@pytest.mark.parametrize("step", [0, 106])
def test_steps_outside_the_run_are_refused(step):
    with pytest.raises(ValueError, match=f"--steps {step}: expected 1 to 105"):
        preview({}, total=105, steps=[step])


def test_a_run_with_another_estimator_has_no_weights_but_its_reward():
    found = preview({}, estimator="grpo")
    assert (found.shown, found.curve, found.has_reward) == ([], [], True)


def test_bounds_of_the_reward_are_the_paper_s():
    reward = load({}).reward
    # 2 - 75/150, -2 + 75/75, and so on
    assert reward_bounds(reward, 75) == pytest.approx(
        {
            "format_min": -1.0,
            "format_max": 1.5,
            "correctness_min": -2.5,
            "correctness_max": 2.5,
            "length_min": 0.0,
            "length_max": 0.0,
            "score_min": -3.5,
            "score_max": 4.0,
        }
    )


def test_settings_that_move_are_found_with_the_step_where_they_stop():
    rest = load({"rest": {"weights": {"name": {"start": 1.0, "slope": -0.5, "limit": 0.5, "begin": 29}}}})
    ends = {key: end for key, _, end in moving_ramps(rest, weighted=True, rewarded=True)}
    assert ends == {
        "rest.weights.name": 30,
        "rest.weights.args": 300,
        "rest.weights.think": 200,
        "rest.reward.format_min": 75,
        "rest.reward.format_max": 150,
        "rest.reward.correctness_min": 150,
        "rest.reward.correctness_max": 150,
    }


def test_rows_have_the_tokens_that_are_said_and_are_padded_to_the_longest():
    batch = batch_of([{NAME: 1, FORMAT: 2}, {THINK: 1}])
    assert batch.regions.tolist() == [[FORMAT, FORMAT, NAME], [THINK, OTHER, OTHER]]
    assert batch.response_mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_each_token_has_the_entropy_of_its_region():
    assumed = Assumed([{THINK: 1, NAME: 1}], ENTROPY | {THINK: 0.5, NAME: 0.25})
    assert torch.equal(assumed.entropies(batch_of(assumed.rows)), torch.tensor([[0.5, 0.25]]))


def test_regions_that_are_not_named_have_no_token_and_keep_their_entropy():
    assert read_tokens("think=80, args=30") == {THINK: 80, ARGS: 30}
    assert read_entropy("think=1.5") == {THINK: 1.5}


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
