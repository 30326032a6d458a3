"""Statistics of answers, and the formulas behind them."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.eval import statistics
from rest_verl.eval.formulas import BFCL_V3, GROUPS, Group, asked_groups
from rest_verl.eval.repeats import Measure, measures
from rest_verl.eval.statistics import Estimate, Outcomes, combine, estimate, wilson

ALONE = {"score": {"a": 1.0}}


def paired_bootstrap(base, other, scores, resamples=10_000, seed=0):
    return statistics.paired_bootstrap(base, other, scores, resamples, seed)


def outcomes(rows):
    """Outcomes of a list with an entry for each question: the answers with each seed, or one answer."""
    accuracy = np.array(rows, dtype=float)
    accuracy = accuracy[:, None] if accuracy.ndim == 1 else accuracy
    return Outcomes(tuple(f"q{number}" for number in range(len(accuracy))), accuracy)


def flipped(base, gained, lost):
    """`base` with so many wrong answers turned right, and so many right ones turned wrong."""
    answers = np.array(base)
    wrong, right = np.flatnonzero(answers == 0), np.flatnonzero(answers == 1)
    answers[wrong[:gained]] = 1
    answers[right[:lost]] = 0
    return list(answers)


HALF = [0, 1] * 500


def test_the_standard_error_is_that_of_a_mean_of_independent_questions():
    one = estimate(outcomes([1, 0, 1, 1]))
    assert (one.mean, one.questions) == (0.75, 4)
    assert one.standard_error == pytest.approx(math.sqrt((3 * 0.25**2 + 0.75**2) / 3) / 2)


def test_answers_with_more_seeds_are_no_further_questions():
    once, often = estimate(outcomes([1, 0, 1, 1])), estimate(outcomes([[1] * 8, [0] * 8, [1] * 8, [1] * 8]))
    assert once == often


def test_the_answers_of_a_question_are_averaged_before_anything_else():
    one = estimate(outcomes([[1, 0], [1, 1]]))
    assert one.mean == 0.75
    assert one.standard_error == pytest.approx(np.std([0.5, 1.0], ddof=1) / math.sqrt(2))


def test_a_single_question_has_no_standard_error():
    one = estimate(outcomes([1]))
    assert (one.mean, one.standard_error, one.questions) == (1.0, None, 1)
    other = Estimate(0.5, 0.1, 10, 0.3, 0.7)
    assert combine({"a": one, "b": other}, {"a": 0.5, "b": 0.5}).standard_error is None


def test_the_variance_of_a_group_is_the_weighted_sum_of_its_parts():
    parts = {
        "a": Estimate(0.5, 0.03, 100, 0.4, 0.6),
        "b": Estimate(0.8, 0.04, 50, 0.7, 0.9),
        "c": Estimate(0.0, 1.0, 7, 0.0, 1.0),
    }
    one = combine(parts, {"a": 0.25, "b": 0.75})
    assert one.mean == pytest.approx(0.725)
    assert one.standard_error == pytest.approx(math.sqrt((0.25 * 0.03) ** 2 + (0.75 * 0.04) ** 2))
    assert one.questions == 150
    distance = math.hypot(0.25 * 0.1, 0.75 * 0.1)
    assert (one.low, one.high) == pytest.approx((0.725 - distance, 0.725 + distance))


@pytest.mark.parametrize(
    ("right", "low", "high"),
    [(0, 0.0, 3.841459 / 43.841459), (40, 40 / 43.841459, 1.0), (20, 0.351995, 0.648005)],
)
def test_an_interval_is_wilson_s_and_has_a_width_at_both_ends(right, low, high):
    """At 0 of n its upper bound is z^2 / (n + z^2). That of 20 of 40 is 0.5 +- z / (2 * sqrt(n + z^2))."""
    one = estimate(outcomes([1] * right + [0] * (40 - right)))
    assert (one.low, one.high) == pytest.approx((low, high), abs=1e-6)


def test_more_seeds_narrow_an_interval_by_what_they_tell():
    """Eight equal answers tell no more than one. Averages whose variance is a quarter of one answer's count fourfold,
    and equal averages as n * seeds answers."""
    once, again = estimate(outcomes([1, 0] * 8)), estimate(outcomes([[1] * 8, [0] * 8] * 8))
    assert (once.low, once.high) == (again.low, again.high)
    quarter = estimate(outcomes([[1, 1, 1, 0], [0, 0, 0, 1]] * 8))  # averages 1/4 from 1/2: variance 1/16 of 1/4
    assert (quarter.low, quarter.high) == pytest.approx(wilson(0.5, 16 * 4))
    equal = estimate(outcomes([[1, 0]] * 16))
    assert (equal.low, equal.high) == pytest.approx(wilson(0.5, 16 * 2))


def test_identical_answers_are_not_told_apart():
    run = {"a": outcomes(HALF)}
    one = paired_bootstrap([run], [run], ALONE)["score"]
    assert (one.low, one.high) == (0, 0)
    assert not one.is_significant
    assert (one.ahead, one.p_value) == (0.5, 1.0)


def test_the_same_score_on_other_questions_is_not_told_apart():
    run = {"a": outcomes(flipped(HALF, gained=60, lost=60))}
    one = paired_bootstrap([{"a": outcomes(HALF)}], [run], ALONE)["score"]
    assert one.mean == 0
    assert one.low < 0 < one.high
    assert one.p_value > 0.9


def test_five_points_are_told_apart_in_both_directions():
    base, better = {"a": outcomes(HALF)}, {"a": outcomes(flipped(HALF, gained=80, lost=30))}
    up = paired_bootstrap([base], [better], ALONE)["score"]
    assert (up.base, up.other, up.mean) == pytest.approx((0.5, 0.55, 0.05))
    assert 0 < up.low < 0.05 < up.high
    assert up.p_value < 0.001
    down = paired_bootstrap([better], [base], ALONE)["score"]
    assert down.low < -0.05 < down.high < 0
    assert up.is_significant and down.is_significant
    assert up.ahead > 0.999 > 0.001 > down.ahead


def test_the_bounds_are_those_of_the_normal_approximation_where_it_holds():
    run = {"a": outcomes(flipped(HALF, gained=80, lost=30))}
    one = paired_bootstrap([{"a": outcomes(HALF)}], [run], ALONE)["score"]
    differences = np.array(flipped(HALF, gained=80, lost=30)) - np.array(HALF)
    error = differences.std() / math.sqrt(len(differences))
    assert one.low == pytest.approx(0.05 - 1.96 * error, abs=0.05 * error * 1.96)
    assert one.high == pytest.approx(0.05 + 1.96 * error, abs=0.05 * error * 1.96)


def test_questions_are_drawn_within_their_category():
    base = {"a": outcomes(HALF), "b": outcomes([0, 1] * 10)}
    other = {"a": outcomes(flipped(HALF, 80, 30)), "b": outcomes(flipped([0, 1] * 10, 4, 2))}
    weights = {"a": 0.7, "b": 0.3}
    one = paired_bootstrap([base], [other], {"both": weights})["both"]
    errors = [
        weight * (other[name].question_means() - base[name].question_means()).std() / math.sqrt(len(base[name].ids))
        for name, weight in weights.items()
    ]
    assert one.mean == pytest.approx(0.7 * 0.05 + 0.3 * 0.1)
    assert one.high - one.low == pytest.approx(2 * 1.96 * math.hypot(*errors), rel=0.04)


def test_chance_alone_is_taken_for_a_difference_in_about_one_of_twenty_cases():
    rng = np.random.default_rng(0)
    difficulty = rng.random((400, 200, 1))
    answers = (rng.random((400, 200, 2)) < difficulty).astype(float)
    found = [
        paired_bootstrap([{"a": outcomes(one[:, 0])}], [{"a": outcomes(one[:, 1])}], ALONE, 1000)["score"]
        for one in answers
    ]
    assert 0.02 < np.mean([one.is_significant for one in found]) < 0.09


def test_runs_that_scatter_widen_the_bounds():
    base = {"a": outcomes(HALF)}
    runs = [{"a": outcomes(flipped(HALF, gained=10, lost=0))}, {"a": outcomes(flipped(HALF, gained=150, lost=0))}]
    both = paired_bootstrap([base], runs, ALONE)["score"]
    assert both.mean == pytest.approx(0.08)
    alone = [paired_bootstrap([base], [run], ALONE)["score"] for run in runs]
    assert both.high - both.low > 2 * max(one.high - one.low for one in alone)


def test_the_same_seed_gives_the_same_bounds_and_another_one_others():
    base, other = {"a": outcomes(HALF)}, {"a": outcomes(flipped(HALF, 53, 31))}
    first, second, third = (paired_bootstrap([base], [other], ALONE, 501, seed)["score"] for seed in (1, 1, 2))
    assert first == second != third


def test_runs_on_other_questions_are_refused():
    one, other = {"a": outcomes([1, 0, 1])}, {"a": outcomes([1, 0])}
    with pytest.raises(ValueError, match=r"the questions of a differ.*q2.*--limit"):
        paired_bootstrap([one], [other], ALONE)
    with pytest.raises(ValueError, match="answers to b;"):
        paired_bootstrap([one], [one | {"b": outcomes([1])}], ALONE)
    with pytest.raises(ValueError, match="each side needs at least one run"):
        paired_bootstrap([one], [], ALONE)


# number of questions and right answers of a made-up model in every category
BFCL = {
    "bfcl_simple_python": (400, 200),
    "bfcl_simple_java": (100, 40),
    "bfcl_simple_javascript": (50, 45),
    "bfcl_multiple": (200, 100),
    "bfcl_parallel": (200, 50),
    "bfcl_parallel_multiple": (200, 20),
    "bfcl_irrelevance": (240, 180),
    "bfcl_live_simple": (258, 129),
    "bfcl_live_multiple": (1053, 700),
    "bfcl_live_parallel": (16, 4),
    "bfcl_live_parallel_multiple": (24, 6),
    "bfcl_live_irrelevance": (884, 500),
    "bfcl_live_relevance": (16, 12),
    "bfcl_multi_turn_base": (200, 100),
    "bfcl_multi_turn_miss_func": (200, 60),
    "bfcl_multi_turn_miss_param": (200, 40),
    "bfcl_multi_turn_long_context": (200, 20),
}
QUESTIONS = {source: number for source, (number, _) in BFCL.items()}
BY_NAME = {group.name: group for group in GROUPS}


def score(name):
    weights = BY_NAME[name].weights(QUESTIONS)
    return sum(weight * BFCL[source][1] / BFCL[source][0] for source, weight in weights.items())


def test_the_groups_of_bfcl_v3_are_what_its_table_computes():
    simple = (0.5 + 0.4 + 0.9) / 3
    assert score("Non-Live") == pytest.approx((simple + 0.5 + 0.25 + 0.1 + 0.75) / 5)
    assert score("Non-Live AST") == pytest.approx((simple + 0.5 + 0.25 + 0.1) / 4)
    assert score("Live") == pytest.approx((129 + 700 + 4 + 6 + 500 + 12) / (258 + 1053 + 16 + 24 + 884 + 16))
    assert score("Live AST") == pytest.approx((129 + 700 + 4 + 6) / (258 + 1053 + 16 + 24))
    assert score("Multi-Turn") == pytest.approx((0.5 + 0.3 + 0.2 + 0.1) / 4)
    assert score("Irrelevance") == pytest.approx((180 / 240 + 500 / 884) / 2)
    assert score("Relevance") == pytest.approx(12 / 16)
    parts = (score("Non-Live"), score("Live"), score("Multi-Turn"))
    assert score("BFCL V3 Overall") == pytest.approx(sum(parts) / 3)


def test_all_questions_of_api_bank_count_alike():
    weights = BY_NAME["API-Bank Overall"].weights({"apibank_level1": 300, "apibank_level2": 60, "apibank_level3": 140})
    assert weights == pytest.approx({"apibank_level1": 0.6, "apibank_level2": 0.12, "apibank_level3": 0.28})


def test_a_group_is_refused_and_named_where_a_category_is_missing():
    questions = QUESTIONS | {"bfcl_simple_java": 0}
    del questions["bfcl_live_relevance"]
    assert BFCL_V3[0].missing(questions) == ("bfcl_simple_java", "bfcl_live_relevance")
    with pytest.raises(ValueError, match=r"BFCL V3 Overall.*needs bfcl_simple_java, bfcl_live_relevance"):
        BFCL_V3[0].weights(questions)


def test_only_groups_that_were_touched_are_reported():
    names = [group.name for group in asked_groups({"bfcl_irrelevance": 3, "apibank_level2": 0})]
    assert names == ["BFCL V3 Overall", "Non-Live", "Irrelevance"]


@given(st.lists(st.integers(1, 2000), min_size=len(BFCL), max_size=len(BFCL)))
def test_weights_are_shares_of_a_whole_whatever_the_numbers_of_questions(numbers):
    questions = dict(zip(BFCL, numbers, strict=True))
    for group in BFCL_V3:
        weights = group.weights(questions)
        assert weights.keys() == set(group.categories())
        assert min(weights.values()) > 0
        assert sum(weights.values()) == pytest.approx(1)


def test_a_group_in_a_group_counts_with_all_its_questions_where_questions_count():
    inner = Group("inner", ("a", "b"))
    assert Group("outer", (inner, "c"), by_questions=True).weights({"a": 1, "b": 2, "c": 1}) == {
        "a": 0.375,
        "b": 0.375,
        "c": 0.25,
    }


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_measures_are_shares_of_all_choices_of_answers(answers, data):
    """Counted choice by choice."""
    k = data.draw(st.integers(1, len(answers)))
    chosen = list(combinations(answers, k))
    one, every = (Measure(k, every).share(sum(answers), len(answers)) for every in (False, True))
    assert one == pytest.approx(sum(map(any, chosen)) / len(chosen))
    assert every == pytest.approx(sum(map(all, chosen)) / len(chosen))


def test_pass_at_two_of_four_answers_worked_out_by_hand():
    """Of the 6 pairs of 4 answers, 2 of them right, 5 hold a right one and 1 holds no wrong one."""
    run = {"a": outcomes([[1, 1, 0, 0], [0, 0, 0, 0]])}
    means = [estimate(Measure(2, every).of(run)["a"]).mean for every in (False, True)]
    assert means == pytest.approx([5 / 12, 1 / 12])
    alone = {str(measure): estimate(measure.of(run)["a"]) for measure in (Measure(1, False), Measure(1, True))}
    assert alone["pass@1"] == alone["pass^1"] == estimate(run["a"])


def test_pass_measures_have_an_interval_where_all_or_none_are_right():
    """Wilson's of 40 questions: more answers to a question are no further questions."""
    run = {"a": outcomes([[1, 0]] * 40)}
    one, every = (estimate(Measure(2, every).of(run)["a"]) for every in (False, True))
    assert (one.mean, one.high, every.mean, every.low) == (1, 1, 0, 0)
    assert (1 - one.low, every.high) == pytest.approx((0.0876, 0.0876), abs=5e-5)


def test_pass_measures_of_powers_of_two_and_of_all_are_reported():
    assert [str(one) for one in measures(6)] == ["pass@2", "pass^2", "pass@4", "pass^4", "pass@6", "pass^6"]
    assert [str(one) for one in measures(2)] == ["pass@2", "pass^2"]
    assert list(measures(1)) == []


def test_a_measure_that_cannot_be_had_says_what_to_do():
    assert [str(Measure.parse(name)) for name in ("pass@3", "pass^12")] == ["pass@3", "pass^12"]
    for name in ("pass@0", "pass@", "pass 3", "acc"):
        with pytest.raises(ValueError, match=r"allowed: pass@K and pass\^K"):
            Measure.parse(name)
    with pytest.raises(ValueError, match="pass@3 needs 3 answers to each question and a has 2: ask with --seeds 3"):
        Measure(3, False).of({"a": outcomes([[1, 0]])})


def test_models_are_compared_by_a_measure_on_the_same_questions():
    """The same mean, but one model is right on half of the questions always, the other half of the time on all."""
    steady, lucky = {"a": outcomes([[1, 1], [0, 0]] * 50)}, {"a": outcomes([[1, 0], [0, 1]] * 50)}
    mean = paired_bootstrap([steady], [lucky], ALONE)["score"]
    assert (mean.mean, mean.is_significant) == (0, False)
    for measure, difference in ((Measure(2, False), 0.5), (Measure(2, True), -0.5)):
        found = paired_bootstrap([measure.of(steady)], [measure.of(lucky)], ALONE)["score"]
        assert found.mean == difference and found.is_significant
