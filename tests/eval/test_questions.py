"""Questions: which are asked, and in which order."""

import json

import pytest

from rest_verl.eval.questions import BFCL_CATEGORIES, apibank_questions, bfcl_questions


@pytest.fixture
def files(tmp_path):
    for level, count in ((1, 3), (2, 4)):
        rows = [
            {"system": "s", "user": f"u{number}", "answer": {"name": "f", "parameters": {}}} for number in range(count)
        ]
        (tmp_path / f"level{level}.json").write_text(json.dumps(rows))
    return [tmp_path / "level2.json", tmp_path / "level1.json"]


def test_the_order_does_not_depend_on_how_files_are_given_and_the_limit_is_by_data_source(files):
    whole = apibank_questions(files)
    assert [question.index for question in whole] == list(range(7))
    assert [question.key for question in whole] == [question.key for question in apibank_questions(files[::-1])]
    some = apibank_questions(files, limit=2)
    assert [question.id for question in some] == [
        "apibank_level1_0",
        "apibank_level1_1",
        "apibank_level2_0",
        "apibank_level2_1",
    ]
    assert some[0].key == ("apibank_level1", "apibank_level1_0")


def test_bfcl_is_asked_in_its_own_order_single_turn_first():
    pytest.importorskip("bfcl_eval", reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23")
    questions = bfcl_questions(["multi_turn_base", "multiple", "simple_python"], limit=2)
    assert [question.source for question in questions] == [
        *["bfcl_simple_python"] * 2,
        *["bfcl_multiple"] * 2,
        *["bfcl_multi_turn_base"] * 2,
    ]
    assert len({question.key for question in questions}) == 6


def test_an_unknown_category_names_the_nearest_of_both_kinds():
    with pytest.raises(ValueError, match="did you mean 'multi_turn_base'"):
        bfcl_questions(["multi_turn_bas"])
    assert {"simple_python", "multi_turn_base"} <= set(BFCL_CATEGORIES)
