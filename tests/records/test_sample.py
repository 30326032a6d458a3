"""Which trajectories of a batch are written down."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.records.sample import PER_GROUP, Output, group_scores, pick, sample_size


def batch(scores, outputs=1):
    """Outputs of groups with the given scores; each trajectory has so many outputs."""
    return [
        Output(f"prompt{group}", session, output, score)
        for group, of_group in enumerate(scores)
        for session, score in enumerate(of_group)
        for output in range(outputs)
    ]


def test_of_a_group_the_best_and_the_worst_come_first():
    outputs = batch([[0.5, 2.0, -1.0, 0.25]])
    assert pick(outputs, 2, 0.0, seed=0) == {1: "best", 2: "worst"}
    picked = pick(outputs, 3, 0.0, seed=0)
    assert Counter(picked.values()) == {"best": 1, "worst": 1, "sample": 1}


def test_where_all_score_alike_none_is_the_best():
    assert set(pick(batch([[1.0, 1.0, 1.0]]), 3, 0.0, seed=0).values()) == {"sample"}


def test_a_best_one_never_comes_without_its_worst():
    outputs = batch([[0.0, 1.0]] * 3)
    assert Counter(pick(outputs, 1, 0.0, seed=0).values()) == {"best": 1, "worst": 1}


def test_several_groups_are_shown_before_one_is_shown_whole():
    outputs = batch([range(10)] * 4)
    picked = pick(outputs, 12, 0.0, seed=0)
    per_group = Counter(outputs[index].uid for index in picked)
    assert sorted(per_group.values()) == [PER_GROUP] * 3


def test_all_outputs_of_a_trajectory_come_together():
    outputs = batch([[0.0, 1.0, 2.0]] * 2, outputs=3)
    picked = pick(outputs, 2, 0.0, seed=1)
    chosen = Counter((outputs[index].uid, outputs[index].session) for index in picked)
    assert set(chosen.values()) == {3} and len(chosen) == 2


def test_the_same_seed_gives_the_same_choice_and_another_seed_another():
    outputs = batch([[0.0, 1.0]] * 50)
    assert pick(outputs, 10, 0.0, seed=3) == pick(outputs, 10, 0.0, seed=3)
    assert len({tuple(pick(outputs, 10, 0.0, seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("trajectories", "at_least", "share", "size"),
    [(100, 32, 0.0, 32), (1000, 32, 0.05, 50), (1001, 32, 0.05, 51), (10, 32, 0.0, 10), (0, 32, 1.0, 0)],
)
def test_the_greater_of_number_and_share_is_taken(trajectories, at_least, share, size):
    assert sample_size(trajectories, at_least, share) == size


def test_scores_of_a_group_count_each_trajectory_once():
    outputs = batch([[0.5, 2.0], [1.0]], outputs=2)
    assert group_scores(outputs) == {"prompt0": [0.5, 2.0], "prompt1": [1.0]}


GROUPS = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.5]), min_size=1, max_size=9), max_size=9)


@given(GROUPS, st.integers(1, 40), st.floats(0, 1), st.integers(0, 9))
def test_as_many_as_asked_and_every_shown_group_has_its_extremes(groups, at_least, share, seed):
    outputs = batch(groups)
    picked = pick(outputs, at_least, share, seed)
    size = sample_size(len(outputs), at_least, share)
    assert size <= len(picked) <= size + 1  # one more where a worst one has to come along
    shown = {outputs[index].uid for index in picked}
    for uid, scores in group_scores(outputs).items():
        if uid in shown and min(scores) < max(scores):
            of_group = {why: outputs[index].score for index, why in picked.items() if outputs[index].uid == uid}
            assert (of_group["best"], of_group["worst"]) == (max(scores), min(scores))
