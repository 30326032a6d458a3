"""What no response can gain under the rules `strict`: padding, repetition, surplus and order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.tool_calls import ToolCall
from rest_verl.reward.strict import match_best
from rest_verl.reward.truth import DueCall

KEYS, VALUES = st.sampled_from("abcde"), st.sampled_from([0, 1, True, "1", "", None, [1]])
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
NAMES = st.sampled_from("fg")
MADE = st.builds(ToolCall, NAMES, ARGUMENTS)


@st.composite
def due_calls(draw):
    """A call with some optional arguments, for which "" and one other value are right."""
    arguments = draw(ARGUMENTS)
    optional = draw(st.frozensets(KEYS, max_size=3))
    other = draw(VALUES)
    return DueCall(
        draw(NAMES),
        arguments,
        optional,
        accepts=lambda key, value: (
            value == "" or value is other if key in optional else value is arguments.get(key, "")
        ),
    )


DUE = st.lists(due_calls(), min_size=1, max_size=4)
SOME = st.lists(MADE, min_size=1, max_size=5)


def share(due, calls):
    return match_best(due, calls).share


def required(due, name):
    """Keys that some due call of this name cannot do without."""
    return {key for call in due if call.name == name for key in call.arguments.keys() - call.optional}


@given(DUE, SOME, st.data())
def test_an_argument_that_is_not_due_never_gains(due, calls, data):
    """R7: optional arguments, right or wrong, and keys that no tool knows, in any number."""
    name = data.draw(st.sampled_from(due)).name
    calls = [ToolCall(name, calls[0].arguments), *calls[1:]]
    more = data.draw(st.dictionaries(st.sampled_from("abcdex"), VALUES, min_size=1))
    surplus = {key: value for key, value in more.items() if key not in required(due, name)}
    bare = {key: value for key, value in calls[0].arguments.items() if key not in surplus}
    without, padded = ([ToolCall(name, one), *calls[1:]] for one in (bare, bare | surplus))
    assert share(due, padded) <= share(due, without) + 1e-12


@given(DUE, SOME)
def test_a_call_of_a_tool_that_is_not_due_costs(due, calls):
    """R7."""
    before = share(due, calls)
    after = share(due, [*calls, ToolCall("other", {"a": 1})])
    assert after < before or before == after == 0


def has_all(wanted, call):
    """Whether a call has all that a due call requires, whatever else it has."""
    given = {key: value for key, value in call.arguments.items() if key in wanted.arguments.keys() - wanted.optional}
    return call.name == wanted.name and share([wanted], [ToolCall(call.name, given)]) == 1


@given(DUE, SOME, st.data())
def test_a_repeated_call_never_gains_unless_it_is_due_again(due, calls, data):
    """R7: two calls may be the same and both due; a copy beyond those that are due costs."""
    call = data.draw(st.sampled_from(calls))
    copies = sum(one == call for one in calls)
    exact = sum(has_all(wanted, call) for wanted in due)
    before, after = share(due, calls), share(due, [*calls, ToolCall(call.name, dict(call.arguments))])
    assert after <= before + 1e-12 or copies < exact


@given(DUE, SOME)
def test_a_call_beyond_those_that_are_due_can_only_cost_or_replace(due, calls):
    """R7: the worst of the calls of one tool, if there are more than are due, is better left out."""
    for name in "fg":
        mine = [call for call in calls if call.name == name]
        if len(mine) > sum(call.name == name for call in due):
            others = [call for call in calls if call.name != name]
            best = max(share(due, others + mine[:left] + mine[left + 1 :]) for left in range(len(mine)))
            assert best >= share(due, calls) - 1e-12


@given(DUE, SOME)
def test_strict_is_a_share_and_the_right_calls_earn_all(due, calls):
    """R7: bounds, exact calls with and without their optional arguments, and the cost of whatever is beyond."""
    assert 0 <= share(due, calls) <= 1
    bare = [
        ToolCall(call.name, {key: call.arguments[key] for key in call.arguments.keys() - call.optional})
        for call in due
    ]
    bare = [
        ToolCall(call.name, call.arguments)
        for call, wanted in zip(bare, due, strict=True)
        if all(wanted.accepts(*item) for item in call.arguments.items())
    ]
    if len(bare) == len(due):
        assert share(due, bare) == pytest.approx(1.0)
        assert share(due, [*bare, *calls]) <= len(due) / (len(due) + len(calls)) + 1e-9


@given(DUE, SOME, st.randoms())
def test_the_order_of_calls_does_not_count(due, calls, rng):
    """R7."""
    shuffled = rng.sample(calls, len(calls))
    assert share(due, shuffled) == pytest.approx(share(due, calls))
    assert share(rng.sample(due, len(due)), calls) == pytest.approx(share(due, calls))
