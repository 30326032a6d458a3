"""BFCL rows made from the installed package's own questions and answers."""

import ast
import copy
import importlib.util
import json
from collections import Counter

import pytest
from bfcl_calls import calls_of, refusal, truth_of

from rest_verl.bfcl.data.docs import functions_with_hints
from rest_verl.bfcl.data.files import bfcl_folder
from rest_verl.bfcl.data.single_turn import CATEGORIES, bfcl_rows
from rest_verl.reward.scorers import get_scorer

real_data = pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None,
    reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23",
)

COUNTS = {
    "simple_python": 400,
    "simple_java": 100,
    "simple_javascript": 50,
    "multiple": 200,
    "parallel": 200,
    "parallel_multiple": 200,
    "irrelevance": 240,
    "live_simple": 258,
    "live_multiple": 1053,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
    "live_irrelevance": 884,
    "live_relevance": 16,
}


@real_data
def test_every_category_of_the_real_data_has_the_known_number_of_rows_with_unique_ids_and_readable_truths():
    rows = bfcl_rows(CATEGORIES)
    assert Counter(row["data_source"] for row in rows) == {f"bfcl_{name}": count for name, count in COUNTS.items()}
    assert len({row["extra_info"]["id"] for row in rows}) == len(rows)
    for row in rows:
        get_scorer(row["data_source"]).read(row["reward_model"]["ground_truth"])
    assert bfcl_folder().name == "bfcl_eval"


@real_data
def test_docs_are_shown_as_bfcls_own_code_shows_them():
    """Its functions are taken out of its source one by one, because its modules cannot be imported here."""
    path = bfcl_folder() / "utils.py"
    names = ("is_java", "is_js", "_get_language_specific_hint", "_func_doc_language_specific_pre_processing")
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    theirs = {"json": json}
    exec(compile(tree, str(path), "exec"), theirs)
    compared = Counter()
    for row in bfcl_rows(CATEGORIES):
        category, functions = truth_of(row)["category"], truth_of(row)["functions"]
        expected = theirs["_func_doc_language_specific_pre_processing"](copy.deepcopy(functions), category)
        assert functions_with_hints(functions, category) == expected
        compared[category] += 1
    assert compared == COUNTS


# What BFCL expects here its own checker refuses: a parameter that the doc does not have, or requires and the answer
# lacks (live_multiple); an array for which nothing is accepted, not even leaving it out (live_simple); items that are
# no text in a list whose items are read as text, or a value that is taken apart into letters (simple_java).
REFUSED = [
    "simple_java_36",
    "simple_java_64",
    "simple_java_65",
    "live_simple_106-63-0",
    "live_simple_112-68-0",
    "live_multiple_862-181-3",
    "live_multiple_964-207-0",
]


@real_data
def test_every_rows_own_answer_is_accepted_but_where_bfcl_contradicts_itself():
    assert [row["extra_info"]["id"] for row in bfcl_rows(CATEGORIES) if refusal(row) is not None] == REFUSED


# in Java and JavaScript the values are source text, which only the checker can judge
PYTHON = [name for name in COUNTS if "java" not in name and "relevance" not in name]


@real_data
@pytest.mark.parametrize("category", PYTHON)
def test_real_ground_truths_pass_a_separate_reading_of_bfcls_rules(category):
    """Every given value is accepted, every argument that may not be omitted is given, requirements are met."""
    data = bfcl_folder() / "data"
    questions, answers = (
        [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        for path in (data / f"BFCL_v4_{category}.json", data / "possible_answer" / f"BFCL_v4_{category}.json")
    )

    def accepts(value, accepted):
        if isinstance(accepted, dict) and isinstance(value, dict):
            given = all(
                key in accepted
                and (any(accepts(v, one) for one in accepted[key]) if isinstance(accepted[key], list) else True)
                for key, v in value.items()
            )
            return given and all("" in options for key, options in accepted.items() if key not in value)
        if isinstance(accepted, list) and isinstance(value, list):
            return len(value) == len(accepted) and all(map(accepts, value, accepted))
        return value == accepted

    for row, asked, answer in zip(bfcl_rows([category]), questions, answers, strict=True):
        required = {tool["name"]: set(tool["parameters"].get("required", ())) for tool in asked["function"]}
        for call, truth in zip(calls_of(row), answer["ground_truth"], strict=True):
            ((name, accepted),) = truth.items()
            assert call["name"] == name
            for argument, options in accepted.items():
                if argument in call["parameters"]:
                    value = call["parameters"][argument]
                    assert any(accepts(value, option) for option in options) or value == options == []
                else:
                    assert "" in options and argument not in required[name]
