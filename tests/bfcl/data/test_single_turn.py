"""BFCL rows: from a small stand-in of the package's files, whose import would fail, and from the real data."""

import importlib.util
import json
import subprocess
import sys

import pytest
from bfcl_calls import calls_of, refusal, truth_of
from right_answers import right_answer

from rest_verl.bfcl.data.docs import functions_with_hints
from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.data.prompt import make_prompt
from rest_verl.data.template import PromptTemplate


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a bfcl_eval that must not be imported first on the path; return the function that writes its files."""
    package = tmp_path / "site" / "bfcl_eval"
    (package / "data" / "possible_answer").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('bfcl_eval was imported')")
    monkeypatch.delitem(sys.modules, "bfcl_eval", raising=False)
    monkeypatch.syspath_prepend(str(package.parent))

    def write(category, questions, answers=None):
        files = {f"BFCL_v4_{category}.json": questions, f"possible_answer/BFCL_v4_{category}.json": answers}
        for name, entries in files.items():
            if entries is not None:
                text = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
                (package / "data" / name).write_text(text, encoding="utf-8")
        return package

    return write


def question(properties, required=(), messages=None, name="book"):
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    messages = messages or [{"role": "user", "content": "Book it."}]
    function = [{"name": name, "description": "Books a room.", "parameters": parameters}]
    return {"id": "q_0", "question": [messages], "function": function}


def one_row(stand_in, asked, arguments, category="simple_python"):
    stand_in(category, [asked], [{"id": "q_0", "ground_truth": [{"book": arguments}]}])
    return bfcl_rows([category])[0]


def test_a_row_has_verls_layout_and_the_package_is_never_imported(stand_in):
    row = one_row(stand_in, question({"city": {"type": "string"}}, ["city"]), {"city": ["Rome", "Roma"]})
    assert row["data_source"] == "bfcl_simple_python"
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert row["prompt"][1]["content"] == "**Dialogue Records History**\n<user> Book it. </user>"
    assert row["ability"] == "tool_use"
    assert row["reward_model"]["style"] == "rule"
    tools = json.loads(row["extra_info"].pop("tools"))
    assert row["extra_info"] == {"index": 0, "id": "q_0", "split": "test"}
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert tools == [{"name": "book", "parameters": parameters}]
    think, rest = right_answer(row).split("\n", 1)
    assert think.startswith("<think> ") and think.endswith(" </think>")
    assert rest == '<tool_call>\n{"name": "book", "parameters": {"city": "Rome"}}\n</tool_call>'


def test_the_ground_truth_holds_bfcls_docs_and_all_accepted_values_as_they_are(stand_in):
    asked = question({"city": {"type": "string"}}, ["city"])
    row = one_row(stand_in, asked, {"city": ["Rome", "Roma"]})
    assert truth_of(row) == {
        "answer": right_answer(row),
        "functions": asked["function"],
        "possible_answer": [{"book": {"city": ["Rome", "Roma"]}}],
        "category": "simple_python",
    }
    assert "Roma" not in row["prompt"][0]["content"]


def test_the_prompt_shows_the_docs_with_the_hint_about_the_language(stand_in):
    row = one_row(stand_in, question({}), {})
    assert "Books a room. Note that the provided function is in Python 3 syntax.\n" in row["prompt"][0]["content"]


def test_format_and_template_go_into_the_prompt(stand_in, tmp_path):
    asked = question(
        {}, messages=[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    )
    stand_in("multiple", [asked], [{"id": "q_0", "ground_truth": [{"book": {}}]}])
    shown = functions_with_hints(asked["function"], "multiple")
    (row,) = bfcl_rows(["multiple"], "hermes")
    assert row["prompt"] == make_prompt(shown, asked["question"][0], "hermes")
    (tmp_path / "mine.jinja").write_text("{{ tools[0].name }} in {{ format }}")
    (row,) = bfcl_rows(["multiple"], "hermes", PromptTemplate(tmp_path / "mine.jinja"))
    assert row["prompt"][0]["content"] == "book in hermes"


def test_an_unknown_format_is_refused_before_any_question_is_read(stand_in):
    with pytest.raises(ValueError, match=r"^unknown wire format 'hermez'"):
        bfcl_rows(["multiple"], "hermez")


def test_progress_is_told_row_by_row_and_a_category_given_twice_is_made_once(stand_in):
    stand_in("irrelevance", [{**question({}), "id": f"q_{number}"} for number in range(3)])
    told = []
    rows = bfcl_rows(["irrelevance", "irrelevance"], on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)] and len(rows) == 3


@pytest.mark.parametrize(
    ("accepted", "required", "expected"),
    [
        ([2, ""], [], {}),
        (["", 2], [], {}),
        (["", 2], ["nights"], {"nights": 2}),
        ([2, ""], ["nights"], {"nights": 2}),
        ([""], ["nights"], {"nights": ""}),
        ([3, 2], [], {"nights": 3}),
        ([None], [], {"nights": None}),
        ([False, ""], ["nights"], {"nights": False}),
        ([], ["nights"], {"nights": []}),
    ],
)
def test_an_argument_is_left_out_exactly_where_bfcl_allows_it_and_the_schema_does_not_require_it(
    stand_in, accepted, required, expected
):
    row = one_row(stand_in, question({"nights": {"type": "integer"}}, required), {"nights": accepted})
    assert calls_of(row)[0]["parameters"] == expected


def test_nested_dicts_take_the_first_accepted_value_at_every_depth(stand_in):
    guest = {"type": "dict", "properties": {"name": {}, "age": {}, "note": {}}, "required": ["age"]}
    properties = {"guests": {"type": "array", "items": guest}, "area": {"type": "dict"}, "tags": {"type": "array"}}
    accepted = {
        "guests": [[{"name": ["Ann", "Anne"], "age": ["", 9], "note": ["", "none"]}, {"name": ["Bo"]}]],
        "area": [{"size": [{"width": [20, 21]}], "unit": "m"}, {"size": []}],
        "tags": [["quiet", "sea"], ["sea"]],
    }
    assert calls_of(one_row(stand_in, question(properties), accepted))[0]["parameters"] == {
        "guests": [{"name": "Ann", "age": 9}, {"name": "Bo"}],
        "area": {"size": {"width": 20}, "unit": "m"},
        "tags": ["quiet", "sea"],
    }


def test_parallel_calls_stand_one_per_line_in_order_and_text_is_not_escaped(stand_in):
    answer = {"id": "q_0", "ground_truth": [{"book": {"city": ["北京"]}}, {"book": {"city": ["Zürich"]}}]}
    stand_in("parallel", [question({"city": {"type": "string"}}, ["city"])], [answer])
    row = bfcl_rows("parallel")[0]
    assert [call["parameters"]["city"] for call in calls_of(row)] == ["北京", "Zürich"]
    assert "北京" in row["reward_model"]["ground_truth"]


JAVA = {
    "city": ("String", ["Rome"], "Rome"),
    "kind": ("any", [20.5, "20.5"], "20.5"),
    "sea": ("boolean", [True], "true"),
    "nights": ("integer", [3], "3"),
    "cents": ("long", [42], "42L"),
    "rate": ("float", [0.5], "0.5f"),
    "share": ("double", [0.5], "0.5"),
    "mode": ("integer", ["Mode.FAST"], "Mode.FAST"),
    "ids": (("Array", "integer"), [[2, -7]], "new int[]{2, -7}"),
    "flags": (("Array", "String"), [["-v", "x"]], "new String[]{-v, x}"),
    "names": (("ArrayList", "String"), [["Ann", "Bo"]], 'new ArrayList<>(Arrays.asList("Ann", "Bo"))'),
    "longs": (("ArrayList", "long"), [[1]], "new ArrayList<>(Arrays.asList(1L))"),
    "none": (("ArrayList", "any"), [[]], "new ArrayList<>()"),
    "area": ("HashMap", [{"size": [20], "unit": ["m"]}], 'new HashMap<>() {{ put("size", 20); put("unit", "m"); }}'),
    "map": ("HashMap", [{}], "new HashMap<>()"),
}
JAVASCRIPT = {
    "city": ("String", ["Rome"], "Rome"),
    "sea": ("Boolean", [False], "false"),
    "nights": ("integer", [3], "3"),
    "cents": ("Bigint", [42], "42n"),
    "rate": ("float", [4.0], "4.0"),
    "list": (("array", "String"), ["cityList"], "cityList"),
    "names": (("array", "String"), [["Ann", "Bo"]], '["Ann", "Bo"]'),
    "points": (("array", "float"), [[60, 0.5]], "[60, 0.5]"),
    "area": ("dict", [{"size": [20], "sea": [True], "tags": [["a"]]}], '{"size": 20, "sea": true, "tags": ["a"]}'),
    "map": ("dict", [{}], "{}"),
}


@pytest.mark.parametrize(("category", "cases"), [("simple_java", JAVA), ("simple_javascript", JAVASCRIPT)])
def test_in_java_and_javascript_the_answer_is_source_text_that_the_checker_accepts(stand_in, category, cases):
    properties = {}
    for name, (kind, _, _) in cases.items():
        kind, items = kind if isinstance(kind, tuple) else (kind, None)
        properties[name] = {"type": kind, "description": "D.", **({"items": {"type": items}} if items else {})}
    row = one_row(
        stand_in, question(properties, list(cases)), {name: case[1] for name, case in cases.items()}, category
    )
    assert calls_of(row)[0]["parameters"] == {name: case[2] for name, case in cases.items()}
    assert refusal(row) is None


def test_irrelevance_rows_answer_in_text_and_need_no_answer_file(stand_in):
    stand_in("irrelevance", [{**question({}), "function": []}])
    row = bfcl_rows(["irrelevance"])[0]
    truth = right_answer(row)
    assert truth_of(row)["possible_answer"] == []
    assert "<tool_call>" not in truth and truth.split("\n")[1].startswith("<response> ")
    assert "None: answer in text." in row["prompt"][0]["content"]


def test_system_messages_of_the_data_go_into_the_system_message(stand_in):
    messages = [
        {"role": "system", "content": "Speak like a clerk."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Book it. "},
    ]
    row = one_row(stand_in, question({}, messages=messages), {})
    assert row["prompt"][0]["content"].endswith("**Task Instructions**\nSpeak like a clerk.")
    assert row["prompt"][1]["content"] == (
        "**Dialogue Records History**\n<user> Hello </user>\n\n<response> Good day. </response>\n\n"
        "<user> Book it. </user>"
    )


def test_index_counts_through_all_rows_of_a_call(stand_in):
    answer = {"id": "q_0", "ground_truth": [{"book": {}}]}
    stand_in("multiple", [question({})], [answer])
    stand_in("parallel", [question({})], [answer])
    rows = bfcl_rows(["parallel", "multiple"])
    assert [(row["data_source"], row["extra_info"]["index"]) for row in rows] == [
        ("bfcl_parallel", 0),
        ("bfcl_multiple", 1),
    ]


def test_an_unknown_category_is_met_with_the_nearest_and_the_allowed_ones():
    with pytest.raises(ValueError, match=r"unknown BFCL category 'paralel': did you mean 'parallel'.*live_multiple"):
        bfcl_rows(["paralel"])


def test_live_relevance_rows_ask_for_any_call_and_need_no_answer_file(stand_in):
    stand_in("live_relevance", [question({"city": {"type": "string"}}, ["city"])])
    (row,) = bfcl_rows(["live_relevance"])
    assert truth_of(row)["possible_answer"] == []
    assert calls_of(row) == [{"name": "book", "parameters": {}}]
    assert refusal(row) is None


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps bfcl-eval==2026.3.23"):
        bfcl_rows(["multiple"])


def test_another_version_of_the_package_is_named_as_such(stand_in):
    stand_in("parallel", [])
    with pytest.raises(FileNotFoundError, match=r"BFCL_v4_multiple.json is missing: .*another version"):
        bfcl_rows(["multiple"])


ANSWER = [{"id": "q_0", "ground_truth": [{"book": {}}]}]


@pytest.mark.parametrize(
    ("questions", "answers", "message"),
    [
        ([{"question": []}], [], "line 1: not a JSON object with the key 'id'"),
        ([{"id": "q_0"}], ANSWER, "q_0: 'question' is not a list"),
        ([question({})], [], "q_0: .*has no answer to it"),
        ([question({})], [{"id": "q_0"}], "q_0: 'ground_truth' is not a list"),
        ([question({})], [{"id": "q_0", "ground_truth": [{"book": 3}]}], "q_0: a call must be"),
        ([question({}, name=None)], ANSWER, "q_0: tool 1 of the prompt must be a dict with a string 'name'"),
        ([{"id": "q_0", "question": ["hi"], "function": []}], ANSWER, "q_0: the question's first turn"),
        ([question({}, messages=[{"role": "user"}])], ANSWER, "q_0: message 1 of the dialogue must be"),
        ([{**question({}), "function": []}], ANSWER, "q_0: 'function' is not a list, or is empty"),
        ([{**question({}), "function": ["book"]}], ANSWER, "q_0: a tool's doc does not have BFCL's form"),
    ],
)
def test_damaged_data_is_named_by_file_and_id(stand_in, questions, answers, message):
    stand_in("multiple", questions, answers)
    with pytest.raises(ValueError, match=f"BFCL_v4_multiple.json, {message}"):
        bfcl_rows(["multiple"])


def test_a_broken_line_is_named_by_file_and_line(stand_in):
    package = stand_in("multiple", [], [])
    (package / "data" / "BFCL_v4_multiple.json").write_text('\n{"id": "q_0", "quest', encoding="utf-8")
    with pytest.raises(ValueError, match=r"BFCL_v4_multiple.json, line 2: not JSON"):
        bfcl_rows(["multiple"])


def test_the_data_modules_import_without_torch_verl_or_ray():
    code = (
        "import sys, rest_verl.bfcl.data.single_turn, rest_verl.data.rlla, rest_verl.data.apibank; "
        "import rest_verl.data.data_set; "
        "sys.exit(str([m for m in ('torch', 'verl', 'ray') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
