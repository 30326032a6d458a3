"""The best pairing of calls that repeat each other, against trying all."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import size

from rest_verl.reward.pairing import Group, best_pairs


def total(groups, pairs):
    return sum(groups[number].qualities[member][due] for due, number, member in pairs)


def best_of_all(groups, due):
    """The greatest sum over all choices of due calls and of calls within the limits."""
    members = [(number, member) for number, group in enumerate(groups) for member in range(len(group.qualities))]
    found = 0.0
    for count in range(1, min(due, len(members)) + 1):
        for rows in combinations(range(due), count):
            for chosen in permutations(members, count):
                if all(sum(one == number for one, _ in chosen) <= group.limit for number, group in enumerate(groups)):
                    pairs = [(row, *one) for row, one in zip(rows, chosen, strict=True)]
                    found = max(found, total(groups, pairs))
    return found


@st.composite
def some_groups(draw):
    due = draw(st.integers(1, 3))
    column = st.lists(st.sampled_from([0.25, 0.4, 0.5, 0.75, 1.0]), min_size=due, max_size=due)
    groups = st.builds(Group, st.lists(column, min_size=1, max_size=3), st.integers(1, 2))
    return due, draw(st.lists(groups, max_size=3))


@given(some_groups())
def test_no_pairing_within_the_limits_is_better(asked):
    due, groups = asked
    pairs = best_pairs(groups)
    assert len({row for row, _, _ in pairs}) == len({pair[1:] for pair in pairs}) == len(pairs)
    for number, group in enumerate(groups):
        assert sum(one == number for _, one, _ in pairs) <= group.limit
    assert total(groups, pairs) == pytest.approx(best_of_all(groups, due))


def test_a_group_gives_no_more_calls_than_its_limit():
    groups = [Group([[1.0, 0.5]] * 3, 1), Group([[0.5, 0.25]], 1)]
    assert sorted(best_pairs(groups)) == [(0, 0, 0), (1, 1, 0)] or total(groups, best_pairs(groups)) == 1.25
    assert total([Group([[1.0, 0.5]] * 3, 2)], best_pairs([Group([[1.0, 0.5]] * 3, 2)])) == 1.5
    assert best_pairs([]) == []


@pytest.mark.soon
@pytest.mark.parametrize("repeated", [1, 2, 50])
def test_many_calls_are_paired_in_linear_time(repeated):
    count = size(50_000) // repeated
    groups = [Group([[0.5, 0.25 + one / count / 2, 0.5]] * repeated, 1) for one in range(count)]
    assert len(best_pairs(groups)) == 3
