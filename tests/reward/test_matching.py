"""Matching of calls with the ground truth: ToolRL's in every granularity, and the best pairing of calls that repeat
each other, against trying all."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import size

from rest_verl.reward.pairing import Group, best_pairs
from rest_verl.reward.toolrl import match_in_order
from rest_verl.reward.truth import DueCall, jaccard


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


def due(name, **arguments):
    return DueCall(name, arguments)


def made(name, **arguments):
    return {"name": name, "parameters": arguments}


def parts(match):
    return match.name, match.arg_keys, match.arg_values, match.share


F = {"a": 1, "b": 2}


def test_each_prediction_serves_one_call_in_the_order_of_the_ground_truth():
    # The first f takes the prediction that suits it best, the second f what is left: keys {a} and {a, b}, a is equal.
    match = match_in_order([due("f", **F), due("f", **F)], [made("f", a=1), made("f", **F)])
    assert parts(match) == pytest.approx((1.0, 1.5 / 2, 3 / 4, (1 + 1.5 + 3) / 7))


def test_of_equally_good_predictions_the_first_is_taken():
    # F shares its keys and one value with either: it takes the first. f(a=0) is left with the second: keys 1/2, a.
    match = match_in_order([due("f", **F), due("f", a=0)], [made("f", a=1, b=0), made("f", a=0, b=2)])
    assert (match.arg_keys, match.arg_values) == pytest.approx((1.5 / 2, 2 / 3))


def test_a_prediction_that_scores_nothing_is_not_used_up():
    # f() shares no key with f(a=1); it stays for the second call, f(), which it equals.
    match = match_in_order([due("f", a=1), due("f")], [made("f")])
    assert parts(match) == pytest.approx((0.5, 1 / 2, 0.0, 1.5 / 4))


def test_values_are_equal_as_python_has_it():
    assert match_in_order([due("f", a=1)], [made("f", a=True)]).share == 1.0


TWO = [due("f", **F), due("g")]


@pytest.mark.parametrize(
    ("granularity", "calls", "share"),
    [
        # order of calls and of keys does not matter in `fine`, and lists of names and keys are all or nothing in
        # `refined`
        ("fine", [made("g"), made("f", b=2, a=1)], 1.0),
        ("refined", [made("g"), made("f", **F)], (0 + 2 + 2) / 5),
        ("refined", [made("f", b=2, a=1), made("g")], 1.0),
        ("refined", [made("f", b=0, a=1), made("g")], (1 + 0 + 1 + 1) / 5),
        ("refined", [made("f", a=1), made("g")], (1 + 0 + 1 + 1) / 5),
        # whole calls
        ("intermediate", [made("g"), made("f", **F)], 1.0),
        ("intermediate", [made("f", a=1), made("g")], (1 + 1) / 3),
        ("intermediate", [made("f", **F)], (1 / 2 + 1) / 3),
        ("intermediate", [made("g"), made("g")], (1 / 3 + 1) / 3),
        # everything or nothing, in order
        ("coarse", [made("f", **F), made("g")], 1.0),
        ("coarse", [made("g"), made("f", **F)], 0.0),
        ("coarse", [made("f", **F)], 0.0),
        *[(granularity, [], 0.0) for granularity in ("fine", "refined", "intermediate", "coarse")],
    ],
)
def test_the_granularity_says_what_earns_partial_credit(granularity, calls, share):
    assert match_in_order(TWO, calls, granularity).share == pytest.approx(share)


@pytest.mark.parametrize(
    ("first", "second", "index"),
    [
        ([], [], 1.0),
        (["a"], [], 0.0),
        ([], ["a"], 0.0),
        (["a", "b"], ["b", "a"], 1.0),
        (["a"], ["b"], 0.0),
        (["a", "a"], ["a"], 1 / 2),
        (["a", "a", "b"], ["a", "b", "b", "c"], 2 / 5),
    ],
)
def test_jaccard_index_of_multisets(first, second, index):
    assert jaccard(first, second) == pytest.approx(index)
    assert jaccard(second, first) == pytest.approx(index)
