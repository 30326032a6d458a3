"""`rest.credit=turn` from the rows of a batch to its tokens."""

import pytest
import torch

from rest_verl.weighting.credit import (
    EVENTS,
    credit_advantages,
    credit_metrics,
    event_places,
    trajectories_of,
    write_events,
)


def fields(*decided):
    return {"reward_extra_info": {EVENTS: write_events(decided), "acc": 1.0}}


def test_tokens_are_counted_over_what_the_policy_generated():
    """Two user turns in one row, with a tool's text between them; the other trajectory earned nothing anywhere."""
    generated = torch.tensor([[1, 1, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]])
    keys, rewards = ["p_0_0", "p_1_0"], torch.tensor([1.0, 0.0])
    groups = trajectories_of(keys, generated, rewards, [fields((1, 1.0), (3, 0.0)), fields()])
    found = credit_advantages(groups, generated, lam=1.0, by_std=False)
    assert found.tolist() == [[1, 1, 0, 0, 0, 0, 0], [-1, -1, -1, 0, 0, 0, 0]]
    assert credit_metrics(groups) == {
        "rest/credit/events": 1.5,
        "rest/credit/decided": 0.5,
        "rest/credit/outcome": 0.0,
    }


def test_rows_of_single_turns_are_one_trajectory():
    """With per_turn, in whatever order verl has them: the last row of a trajectory has its events."""
    generated = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    keys = ["p_0_1", "p_1_0", "p_0_0"]
    extra = [fields((0, 1.0)), fields(), {"reward_extra_info": {}}]
    groups = trajectories_of(keys, generated, torch.tensor([1.0, 0.0, 1.0]), extra)
    assert [one.rows for one in groups[0]] == [[2, 0], [1]]
    found = credit_advantages(groups, generated, lam=1.0, by_std=False)
    assert found.tolist() == [[0, 0, 0], [-1, -1, -1], [1, 0, 0]]


def test_events_are_placed_in_their_rows_and_sum_to_the_score():
    """Tokens of a row count masked ones: the tool's text between the turns. The end has what is left of the score."""
    generated = torch.tensor([[1, 1, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]])
    groups = trajectories_of(
        ["p_0_0", "p_1_0"], generated, torch.tensor([1.5, 0.25]), [fields((1, 1.0), (2, -0.5)), {}]
    )
    assert event_places(groups, generated) == [[(1, 1.0), (4, -0.5), (5, 1.0)], [(2, 0.25)]]


def test_events_of_a_trajectory_lie_in_the_rows_of_its_turns():
    """With per_turn; the second trajectory generated nothing, and has nowhere to place an event."""
    generated = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 1]])
    extra = [fields((1, 1.0), (3, 2.0)), {}, {"reward_extra_info": {}}]
    groups = trajectories_of(["p_0_1", "p_1_0", "p_0_0"], generated, torch.tensor([3.0, 0.0, 3.0]), extra)
    assert event_places(groups, generated) == [[(1, 2.0)], [], [(2, 1.0)]]


def test_prompts_are_groups_of_their_own():
    keys, generated = ["p_0_0", "q_0_0", "p_1_0", "q_1_0"], torch.ones(4, 1)
    groups = trajectories_of(keys, generated, torch.tensor([1.0, 5.0, 0.0, 3.0]), [{}] * 4)
    assert credit_advantages(groups, generated, 1.0, False)[:, 0].tolist() == [1.0, 2.0, -1.0, -2.0]


def test_an_event_beyond_the_trajectory_is_an_error():
    with pytest.raises(ValueError, match=r"events at tokens \[3\]: they must be in order and from 0 to 2"):
        trajectories_of(["p_0_0"], torch.ones(1, 3), torch.ones(1), [fields((3, 1.0))])
