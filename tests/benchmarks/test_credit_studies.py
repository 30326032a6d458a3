"""The studies of credit: what a turn of a dialogue is judged by, orders of parallel calls, the advantages of both, how
updates are counted, and what is a lost line."""

import json
import random
from collections import Counter

import parallel_calls
import pytest
import torch
from dialogues import EVERY, GROUP, TURNS, Dialogues, advantages, call_of, change_of, draw_wishes, findings
from evidence import orders
from evidence.credit import best_rate, prepare_clerk, steps_to
from evidence.orders import CALLS, Served, serve, shown_turn, taught, written
from evidence.policy import Rollouts
from parallel_calls import VARIANTS, Variant, keeps_lines, weights_of

from rest_verl.core.credit import events_of
from rest_verl.formats import get_format
from rest_verl.reward.truth import read_ground_truth


def test_a_turn_is_read_as_the_change_that_it_makes():
    assert change_of(call_of("fig", 3)) == ("fig", 3)
    assert change_of("<think> so </think>\n" + call_of("fig", -2)) == ("fig", -2)
    closed = "<response> We are closed. </response>"
    for text in ("", closed, "<tool_call>\n[1]\n</tool_call>", '<tool_call>{"name": "f"}'):
        assert change_of(text) is None


def test_wishes_never_ask_for_more_than_the_cart_holds():
    rng = random.Random(0)
    for _ in range(300):
        cart = Counter()
        for wish in draw_wishes(rng):
            cart[wish.item] += wish.count
            assert cart[wish.item] >= 0 and wish.count != 0


def held(right, reached):
    rows = [[row for row, count in enumerate(reached) if count > turn] for turn in range(TURNS)]
    return Dialogues([], [one for one in rows if one], torch.tensor(right))


# Two dialogues right throughout, one that failed from its second turn on, one that ended after the first turn.
RIGHT = [[1.0] * 4, [1.0] * 4, [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
HELD = held(RIGHT, [4, 4, 4, 1])


def test_grpo_gives_all_turns_of_a_dialogue_its_advantage():
    found = advantages(HELD, None)
    assert GROUP == 4 and (found == found[:, :1]).all()
    assert found[0, 0] > 0 > found[2, 0] == pytest.approx(float(found[3, 0]))


def test_a_turn_is_not_blamed_for_what_was_decided_before_it():
    found = advantages(HELD, 1.0)
    assert found[2, 0] == pytest.approx(-found[0, 0])  # what follows the first turn differs, and it decides that too
    assert found[2, 3] < 0 < found[0, 3]
    assert (found[3, 1:] == 0).all()  # turns that were never held


def test_updates_to_a_target_lie_between_validations():
    assert steps_to([0.2, 0.4, 0.6], 0.5, EVERY) == pytest.approx(6.0)
    assert steps_to([0.5, 0.4], 0.5, EVERY) == 0.0
    assert steps_to([0.2, 0.3, 0.3], 0.5, EVERY) == 8.0


def test_variants_are_compared_over_the_seeds_that_both_have():
    def runs(name, rate, gain):
        return {
            f"{name}/{rate:g}/{seed}": {
                "variant": name,
                "rate": rate,
                "seed": seed,
                "curve": [0.2, 0.2 + gain * (1 + seed / 100), 0.2 + 2 * gain * (1 + seed / 100)],
            }
            for seed in range(3)
        }

    pieces = runs("grpo", 1e-4, 0.1) | runs("turn", 1e-4, 0.2) | runs("turn_0.5", 1e-4, 0.1)
    found = findings(pieces)["verdicts"]
    assert found["of"]["turn"]["at_grpos"]["times_fewer"]["estimate"] == pytest.approx(2.0, rel=0.05)
    assert found["of"]["turn_0_5"]["at_grpos"]["final_minus_grpo"]["verdict"] == "undecided"
    assert found["of"]["turn"]["at_grpos"]["seeds"] == 3


def test_the_right_response_is_a_legal_turn_of_three_calls():
    rng = random.Random(0)
    wishes = orders.draw_wishes(rng)
    truth = read_ground_truth(written(wishes))
    assert len(truth.calls) == CALLS
    wire_format, text = get_format("rlla"), written([taught(rng, wish) for wish in wishes]).encode()
    assert wire_format.is_legal(text, wire_format.parse(text), truth.kind)


def served(decided):
    """Four responses of five tokens, of which the first and the last earn 1 at their second token or at the end."""
    mask = torch.ones(parallel_calls.GROUP, 5, dtype=torch.int64)
    empty = torch.zeros(parallel_calls.GROUP, 5)
    scores = torch.tensor([1.0, 0.0, 0.0, 1.0])
    events = [events_of(float(score), 5, [(1, float(score))] if decided else []) for score in scores]
    return Served(Rollouts(mask, mask, mask, mask, mask[:, 0], empty, empty, empty), events, [], *[scores] * 4)


def test_without_events_span_is_grpo_up_to_the_baseline():
    """Leave-one-out over four is the mean over four times 4 / 3."""
    plain, by_span = (parallel_calls.advantages(served(False), Variant(lam), None) for lam in (None, 1.0))
    torch.testing.assert_close(by_span, plain * 4 / 3)


@pytest.mark.parametrize("lam", sorted({one.lam for one in VARIANTS.values() if one.lam is not None}))
def test_tokens_after_the_last_decision_have_no_credit(lam):
    found = parallel_calls.advantages(served(True), Variant(lam), None)
    assert (found[:, 2:] == 0).all() and (found[0, :2] > 0).all() and (found[1, :2] < 0).all()


def test_runs_that_lose_lines_are_counted():
    pieces = {}
    for name in VARIANTS:
        for seed in range(2):
            lost = [0.5, 0.2, 0.0] if name == "span_0" else [0.5, 0.0, 0.0]
            run = {"variant": name, "rate": 2e-4, "seed": seed, "curve": [0.1, 0.2, 0.3 + seed / 100]}
            pieces[f"{name}/{seed}"] = run | {"lines_lost": lost}
    found = json.loads(json.dumps(parallel_calls.findings(pieces)))["verdicts"]["of"]
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
    wishes = [orders.draw_wishes(random.Random(0))] * parallel_calls.GROUP
    batch = serve(clerk.new_model(), clerk, wishes, with_events=False)
    mask, found = batch.rollouts.response_mask.float(), parallel_calls.advantages(batch, VARIANTS["gdpo"], clerk)
    assert found.shape == mask.shape and not found[mask == 0].any()
    old, plain, by_entropy = (
        weights_of(VARIANTS[name], clerk, 8)(batch, 1, found) for name in ("entropy_adaptive_old", "grpo", "top_fifth")
    )
    torch.testing.assert_close(old.sum(dim=-1), mask.sum(dim=-1))
    assert plain.equal(mask) and (by_entropy > by_entropy[mask == 1].min()).sum() == -(-mask.sum() // 5)
