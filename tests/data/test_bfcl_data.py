"""BFCL rows: from a small stand-in of the package's files, whose import would fail, and from the real data."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter

import pytest

from rest_verl.data.bfcl import CATEGORIES, bfcl_folder, bfcl_rows
from rest_verl.data.prompt import rlla_system_prompt, rlla_user_message

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
}


def calls_of(row):
    block = row["reward_model"]["ground_truth"].split("<tool_call>\n")[1].split("\n</tool_call>")[0]
    return [json.loads(line) for line in block.split("\n")]


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
    assert row["extra_info"] == {"index": 0, "id": "q_0", "split": "test"}
    think, rest = row["reward_model"]["ground_truth"].split("\n", 1)
    assert think.startswith("<think> ") and think.endswith(" </think>")
    assert rest == '<tool_call>\n{"name": "book", "parameters": {"city": "Rome"}}\n</tool_call>'


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


def test_irrelevance_rows_answer_in_text_and_need_no_answer_file(stand_in):
    stand_in("irrelevance", [{**question({}), "function": []}])
    row = bfcl_rows(["irrelevance"])[0]
    truth = row["reward_model"]["ground_truth"]
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
    with pytest.raises(ValueError, match=r"'paralel' is unknown; did you mean 'parallel'.*live_multiple"):
        bfcl_rows(["paralel"])


def test_live_relevance_is_refused_because_it_has_no_ground_truth():
    with pytest.raises(ValueError, match=r"'live_relevance' gives no ground truth. Allowed: "):
        bfcl_rows(["live_relevance"])


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps bfcl-eval==2026.3.23"):
        bfcl_rows(["multiple"])


def test_another_version_of_the_package_is_named_as_such(stand_in):
    stand_in("parallel", [])
    with pytest.raises(FileNotFoundError, match=r"BFCL_v4_multiple.json is not there: .*another version"):
        bfcl_rows(["multiple"])


@pytest.mark.parametrize(
    ("questions", "answers", "message"),
    [
        ([{"question": []}], [], "line 1: no JSON object with an 'id'"),
        ([{"id": "q_0"}], [], "q_0: 'question' is not a list"),
        ([question({})], [], "q_0: .*has no answer to it"),
        ([question({})], [{"id": "q_0"}], "q_0: 'ground_truth' is not a list"),
        ([question({})], [{"id": "q_0", "ground_truth": [{"book": 3}]}], "q_0: a call must be"),
        ([question({}, name=None)], [], "q_0: tool 1 of the prompt must be a dict with a string 'name'"),
        ([{"id": "q_0", "question": ["hi"], "function": []}], [], "q_0: the question's first turn"),
        ([question({}, messages=[{"role": "user"}])], [], "q_0: message 1 of the dialogue must be"),
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


def test_the_system_prompt_lists_tools_and_unwraps_the_schemas_of_verl():
    tool = {"name": "find", "description": "Finds.", "parameters": {"type": "object", "required": ["q"]}}
    plain = rlla_system_prompt([tool, {"name": "stop"}])
    assert (
        '1. Name: find\nDescription: Finds.\nParameters: {"type": "object", "required": ["q"]}\n2. Name: stop' in plain
    )
    assert rlla_system_prompt([{"type": "function", "function": tool}, {"name": "stop"}]) == plain
    assert all(tag in plain for tag in ("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "<obs>"))


def test_the_user_message_keeps_tagged_turns_and_puts_results_under_their_call():
    call = '<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
    dialogue = [("user", "Do f."), ("assistant", call), ("tool", "[1]"), ("tool", "[2]"), ("assistant", "Done.")]
    assert rlla_user_message([{"role": role, "content": content} for role, content in dialogue]) == (
        f"**Dialogue Records History**\n<user> Do f. </user>\n\n{call}\n<obs> [1] </obs>\n<obs> [2] </obs>\n\n"
        "<response> Done. </response>"
    )


@pytest.mark.parametrize(
    ("dialogue", "message"),
    [
        ([], "the dialogue is empty"),
        ([{"role": "system", "content": "Be brief."}], "role 'system'.*instructions="),
        ([{"role": "user", "content": None}], "message 1 .*'content' as text"),
        (["hello"], "message 1 .*got 'hello'"),
    ],
)
def test_a_dialogue_that_cannot_be_packed_is_refused(dialogue, message):
    with pytest.raises(ValueError, match=message):
        rlla_user_message(dialogue)


def test_the_data_modules_import_without_torch_verl_or_ray():
    code = (
        "import sys, rest_verl.data.bfcl, rest_verl.data.rlla, rest_verl.data.split; "
        "sys.exit(str([m for m in ('torch', 'verl', 'ray') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


@real_data
def test_every_category_of_the_real_data_has_the_known_number_of_rows_and_unique_ids():
    rows = bfcl_rows(CATEGORIES)
    assert Counter(row["data_source"] for row in rows) == {f"bfcl_{name}": count for name, count in COUNTS.items()}
    assert len({row["extra_info"]["id"] for row in rows}) == len(rows)
    assert bfcl_folder().name == "bfcl_eval"
    assert "bfcl_eval" not in sys.modules


@real_data
@pytest.mark.parametrize("category", [name for name in CATEGORIES if not name.endswith("irrelevance")])
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
