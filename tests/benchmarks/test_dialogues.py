"""The study of credit by turn: what a turn is judged by, and how updates are counted."""

import random
from collections import Counter

import pytest
import torch
from dialogues import EVERY, GROUP, TURNS, Dialogues, advantages, call_of, change_of, draw_wishes, findings
from evidence.credit import steps_to


def test_a_turn_is_read_as_the_change_that_it_makes():
    assert change_of(call_of("fig", 3)) == ("fig", 3)
    assert change_of("<think> so </think>\n" + call_of("fig", -2)) == ("fig", -2)
    for text in (
        "",
        "<response> We are closed. </response>",
        "<tool_call>\n[1]\n</tool_call>",
        '<tool_call>{"name": "f"}',
    ):
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
