"""The study of credit by span: its orders, its advantages, and what it counts as a lost line."""

import json
import random

import pytest
import torch
from evidence.orders import CALLS, Served, draw_wishes, taught, written
from evidence.policy import Rollouts
from spans import GROUP, VARIANTS, advantages, findings

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
    return Served(Rollouts(mask, mask, mask, mask, mask[:, 0], empty, empty, empty), events, *[scores] * 4)


def test_without_events_span_is_grpo_up_to_the_baseline():
    """Leave-one-out over four is the mean over four times 4 / 3."""
    plain, by_span = advantages(served(False), None), advantages(served(False), 1.0)
    torch.testing.assert_close(by_span, plain * 4 / 3)


@pytest.mark.parametrize("lam", [lam for lam in VARIANTS.values() if lam is not None])
def test_tokens_after_the_last_decision_have_no_credit(lam):
    found = advantages(served(True), lam)
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
