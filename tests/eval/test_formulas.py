import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.eval.formulas import BFCL_V3, GROUPS, Group, asked_groups

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
