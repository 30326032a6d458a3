"""The study of parallel calls: its orders, its advantages, and what it counts as a lost line."""

import json
import random

import pytest
import torch
from evidence.credit import best_rate, prepare_clerk
from evidence.orders import CALLS, Served, draw_wishes, serve, shown_turn, taught, written
from evidence.policy import Rollouts
from parallel_calls import GROUP, VARIANTS, Variant, advantages, findings, keeps_lines, weights_of

from rest_verl.core.credit import events_of
from rest_verl.formats import get_format
from rest_verl.reward.truth import read_ground_truth


def test_the_right_response_is_a_legal_turn_of_three_calls():
    rng = random.Random(0)
    wishes = draw_wishes(rng)
    truth = read_ground_truth(written(wishes))
    assert len(truth.calls) == CALLS
    wire_format, text = get_format("rlla"), written([taught(rng, wish) for wish in wishes]).encode()
    assert wire_format.is_legal(text, wire_format.parse(text), truth.kind)


def served(decided):
    """Four responses of five tokens, of which the first and the last earn 1 at their second token or at the end."""
    mask = torch.ones(GROUP, 5, dtype=torch.int64)
    empty = torch.zeros(GROUP, 5)
    scores = torch.tensor([1.0, 0.0, 0.0, 1.0])
    events = [events_of(float(score), 5, [(1, float(score))] if decided else []) for score in scores]
    return Served(Rollouts(mask, mask, mask, mask, mask[:, 0], empty, empty, empty), events, [], *[scores] * 4)


def test_without_events_span_is_grpo_up_to_the_baseline():
    """Leave-one-out over four is the mean over four times 4 / 3."""
    plain, by_span = (advantages(served(False), Variant(lam), None) for lam in (None, 1.0))
    torch.testing.assert_close(by_span, plain * 4 / 3)


@pytest.mark.parametrize("lam", sorted({one.lam for one in VARIANTS.values() if one.lam is not None}))
def test_tokens_after_the_last_decision_have_no_credit(lam):
    found = advantages(served(True), Variant(lam), None)
    assert (found[:, 2:] == 0).all() and (found[0, :2] > 0).all() and (found[1, :2] < 0).all()


def test_runs_that_lose_lines_are_counted():
    pieces = {}
    for name in VARIANTS:
        for seed in range(2):
            lost = [0.5, 0.2, 0.0] if name == "span_0" else [0.5, 0.0, 0.0]
            run = {"variant": name, "rate": 2e-4, "seed": seed, "curve": [0.1, 0.2, 0.3 + seed / 100]}
            pieces[f"{name}/{seed}"] = run | {"lines_lost": lost}
    found = json.loads(json.dumps(findings(pieces)))["verdicts"]["of"]
    assert found["span_0"]["at_grpos"]["runs_that_lose_lines"] == 2
    assert found["span_0"]["at_grpos"]["end_with_lines_lost"] == found["grpo"]["at_grpos"]["runs_that_lose_lines"] == 0


def test_a_rate_at_which_runs_lose_lines_is_not_taken():
    """The higher rate learns more, but one of its runs loses lines; without a safe rate the lowest is taken."""
    pieces = {}
    for rate, end, lost in ((1e-4, 0.2, 0.0), (2e-4, 0.4, 0.0), (4e-4, 0.6, 0.2)):
        for seed in range(2):
            run = {"variant": "grpo", "rate": rate, "seed": seed, "curve": [0.1, end]}
            pieces[f"{rate}/{seed}"] = run | {"lines_lost": [0.5, lost * seed]}
    assert best_rate(pieces, "grpo") == 4e-4
    assert best_rate(pieces, "grpo", keeps_lines) == 2e-4
    assert best_rate(pieces, "grpo", lambda run: False) == 1e-4


def test_weights_of_the_old_form_keep_the_sum_of_each_row(tmp_path):
    """`row` keeps it, `batch` does not: the variants differ in what they say."""
    clerk = prepare_clerk(tmp_path, shown_turn, steps=1)
    batch = serve(clerk.new_model(), clerk, [draw_wishes(random.Random(0))] * GROUP, with_events=False)
    mask, found = batch.rollouts.response_mask.float(), advantages(batch, VARIANTS["gdpo"], clerk)
    assert found.shape == mask.shape and not found[mask == 0].any()
    old, plain, by_entropy = (
        weights_of(VARIANTS[name], clerk, 8)(batch, 1, found) for name in ("entropy_adaptive_old", "grpo", "top_fifth")
    )
    torch.testing.assert_close(old.sum(dim=-1), mask.sum(dim=-1))
    assert plain.equal(mask) and (by_entropy > by_entropy[mask == 1].min()).sum() == -(-mask.sum() // 5)
