"""BFCL's multi-turn tasks as rows: what the prompt shows, what comes later, and that the check knows them."""

import importlib
import importlib.util
import inspect
import json
import re
from collections import Counter
from functools import cache

import pyarrow.parquet as pq
import pytest
from bfcl_calls import MISSING
from typer.testing import CliRunner

from rest_verl.bfcl.data.answers import call_of_source
from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
from rest_verl.bfcl.multi_turn.apis import methods
from rest_verl.cli import app
from rest_verl.data.check import check_files
from rest_verl.data.check_report import Kind
from rest_verl.data.data_set import write_parquet
from rest_verl.data.rows import ENVIRONMENT_SCHEMA, SCHEMA, RowEnvironment, make_row
from rest_verl.data.template import BUILT_IN, PromptTemplate, Tool

real_data = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

rows_of = cache(bfcl_multi_turn_rows)


def entries(category):
    folder = importlib.util.find_spec("bfcl_eval").submodule_search_locations[0]
    with open(f"{folder}/data/BFCL_v4_{category}.json", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def kwargs_of(row):
    return json.loads(row["extra_info"]["environment_kwargs"])


def listed(text):
    """Names of the tools that a text lists."""
    return [line.split("Name: ")[1] for line in text.split("\n") if ". Name: " in line]


@real_data
def test_every_category_has_its_200_tasks_with_bfcls_ids():
    rows = rows_of()
    assert Counter(row["data_source"] for row in rows) == {f"bfcl_{name}": 200 for name in MULTI_TURN_CATEGORIES}
    ids = [entry["id"] for category in MULTI_TURN_CATEGORIES for entry in entries(category)]
    assert [row["extra_info"]["id"] for row in rows] == [kwargs_of(row)["id"] for row in rows] == ids
    assert [row["extra_info"]["index"] for row in rows] == list(range(800))


@real_data
def test_a_row_names_the_environment_and_holds_all_that_it_is_made_with():
    for category in MULTI_TURN_CATEGORIES:
        for row, entry in zip(rows_of((category,)), entries(category), strict=True):
            kwargs = kwargs_of(row)
            assert row["extra_info"]["environment"] == "bfcl_multi_turn"
            assert kwargs["initial_config"] == entry["initial_config"]
            assert kwargs["involved_classes"] == entry["involved_classes"]
            assert kwargs["long_context"] == (category == "multi_turn_long_context")
            assert json.loads(row["reward_model"]["ground_truth"]) == kwargs["ground_truth"]
            assert len(kwargs["ground_truth"]) == len(kwargs["turns"]) + 1 == len(entry["question"])


@real_data
def test_the_prompt_lists_all_tools_but_those_that_come_later():
    """Also those that a question calls excluded: the leaderboard shows them too."""
    for category in MULTI_TURN_CATEGORIES:
        for row, entry in zip(rows_of((category,)), entries(category), strict=True):
            hidden = set().union(*entry.get("missed_function", {}).values())
            known = {name for one in entry["involved_classes"] for name in methods(one)}
            names = listed(row["prompt"][0]["content"])
            assert set(names) == known - hidden and len(names) == len(set(names))
            assert '"response"' not in row["prompt"][0]["content"]


@real_data
def test_what_the_user_says_is_bfcls_text_and_a_turn_that_brings_tools_lists_them():
    compared = 0
    for category in MULTI_TURN_CATEGORIES:
        for row, entry in zip(rows_of((category,), "hermes"), entries(category), strict=True):
            said = [row["prompt"][1:], *kwargs_of(row)["turns"]]
            for number, (ours, theirs) in enumerate(zip(said, entry["question"], strict=True)):
                if brought := entry.get("missed_function", {}).get(str(number)):
                    assert theirs == []
                    assert ours[0]["role"] == "user" and listed(ours[0]["content"]) == brought
                    compared += 1
                else:
                    assert ours == theirs
    assert compared == 200


@real_data
def test_tools_are_held_out_until_their_turn_but_where_the_ground_truth_calls_them_before():
    for row, entry in zip(rows_of(("multi_turn_miss_func",)), entries("multi_turn_miss_func"), strict=True):
        if entry["id"] == "multi_turn_miss_func_49":
            assert entry["missed_function"] == {"3": ["wc", "tail", "cat"]}
            assert kwargs_of(row)["held_out"] == {"3": ["wc", "cat"]}
        else:
            assert kwargs_of(row)["held_out"] == entry["missed_function"]


@real_data
def test_in_rlla_a_later_turn_is_one_message_with_tags():
    (_, first), later = (rows_of(("multi_turn_base",))[0][key] for key in ("prompt", "extra_info"))
    assert first["content"].startswith("**Dialogue Records History**\n<user> Move 'final_report.pdf' within")
    (second,) = json.loads(later["environment_kwargs"])["turns"][0]
    assert second["role"] == "user"
    assert second["content"].startswith("<user> Perform a detailed") and second["content"].endswith("'. </user>")


@real_data
def test_arguments_by_position_get_the_names_of_the_signature():
    row = next(row for row in rows_of() if row["extra_info"]["id"] == "multi_turn_miss_func_0")
    assert kwargs_of(row)["ground_truth"][3] == [{"name": "sort", "arguments": {"file_name": "final_report.pdf"}}]
    for row in rows_of():
        for call in (call for turn in kwargs_of(row)["ground_truth"] for call in turn):
            (method,) = (
                known[call["name"]]
                for known in map(methods, kwargs_of(row)["involved_classes"])
                if call["name"] in known
            )
            inspect.signature(method).bind(None, **call["arguments"])


def move(self, source, destination="old", *, force=False):
    raise AssertionError("nothing is run")


def test_a_call_is_read_from_source_by_position_and_by_name():
    read = call_of_source("move('a', force=True)", {"move": move})
    assert (read.name, read.arguments) == ("move", {"source": "a", "force": True})
    read = call_of_source("move(['a', {'b': -1.5, 'c': None}])", {"move": move})
    assert read.arguments == {"source": ["a", {"b": -1.5, "c": None}]}


@pytest.mark.parametrize(
    "source",
    [
        "move(",
        "move",
        "fly('a')",
        "a.move('a')",
        "move(open('a'))",
        "move('a' * 9)",
        "move(name)",
        "move()",
        "move('a', 'b', 'c')",
        "move('a', speed=1)",
        "move(*['a'])",
        "move(**{'source': 'a'})",
        "move(('a',))",
        "move({1: 2})",
        "move(b'a')",
        "move({'a'})",
        "move(1e999)",
        None,
        3,
    ],
)
def test_source_that_is_no_call_of_literals_is_refused_and_never_run(source):
    with pytest.raises(ValueError, match="a" if source is None else str(source)[:3]):
        call_of_source(source, {"move": move})


def test_an_unknown_category_is_met_with_the_nearest_and_the_allowed_ones():
    with pytest.raises(ValueError, match=r"unknown multi-turn category of BFCL 'multi_turn_bas': did you mean"):
        bfcl_multi_turn_rows(["multi_turn_bas"])


@real_data
def test_a_template_that_cannot_list_tools_by_themselves_says_what_it_lacks(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{% for tool in tools %}{{ tool.name }}{% endfor %}", encoding="utf-8")
    template = PromptTemplate(path)
    assert len(bfcl_multi_turn_rows(["multi_turn_base"], template=template)) == 200
    with pytest.raises(
        ValueError, match=r"multi_turn_miss_func_0: .*mine.jinja: no block named 'tools'.*prompt.jinja"
    ):
        bfcl_multi_turn_rows(["multi_turn_miss_func"], template=template)


@real_data
def test_the_list_of_later_tools_follows_the_template(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("Tools:\n{% block tools %}{% for tool in tools %}[{{ tool.name }}]{% endfor %}{% endblock %}")
    (row, *_) = bfcl_multi_turn_rows(["multi_turn_miss_func"], template=PromptTemplate(path))
    assert "\n\n[sort]\n\n" in kwargs_of(row)["turns"][2][0]["content"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "has no answer to it"),
        ([["fly()"]], "calls 'fly', which none of the involved classes has"),
        ([["mean("]], "not a call in Python"),
        ([3], "does not have BFCL's form"),
        ([[]], "no call in any turn"),
        ([["mean([1])"], ["mean([1])"]], "ground_truth has 2 turns and turns has 0"),
    ],
)
@real_data
def test_damaged_data_is_named_by_file_and_id(tmp_path, monkeypatch, answer, message):
    real = importlib.util.find_spec("bfcl_eval").submodule_search_locations[0]
    folder = tmp_path / "bfcl_eval"
    (folder / "data" / "possible_answer").mkdir(parents=True)
    (folder / "data" / "multi_turn_func_doc").symlink_to(f"{real}/data/multi_turn_func_doc")
    entry = {"id": "q_0", "question": [[{"role": "user", "content": "c"}]], "initial_config": {}}
    lines = {"": {**entry, "involved_classes": ["MathAPI"]}, "possible_answer/": {"id": "q_0", "ground_truth": answer}}
    for place, line in lines.items():
        text = "" if place and answer is None else json.dumps(line)
        (folder / "data" / f"{place}BFCL_v4_multi_turn_base.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr("rest_verl.bfcl.data.multi_turn.bfcl_folder", lambda: folder)
    with pytest.raises(ValueError, match=f"BFCL_v4_multi_turn_base.json, q_0: .*{message}"):
        bfcl_multi_turn_rows(["multi_turn_base"])


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@real_data
def test_the_command_writes_files_that_verl_concatenates_and_the_check_accepts(tmp_path):
    datasets = pytest.importorskip("datasets", reason="verl reads with it; not installed here")
    assert run("bfcl", "--multi-turn", "--out", tmp_path / "multi").exit_code == 0
    assert run("bfcl", "--categories", "multiple", "--out", tmp_path / "single").exit_code == 0
    files = sorted(tmp_path.glob("*/*.parquet"))
    schemas = [ENVIRONMENT_SCHEMA] * 2 + [SCHEMA] * 2
    assert all(pq.read_schema(file).equals(schema) for file, schema in zip(files, schemas, strict=True))
    report = check_files(files)
    assert report.problems == [] and sum(file.rows for file in report.files) == 1000
    read = [datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache")) for file in files]
    together = datasets.concatenate_datasets(read)
    assert Counter(row["environment"] for row in together["extra_info"]) == {"bfcl_multi_turn": 800, None: 200}
    manifest = json.loads((tmp_path / "multi" / "manifest.json").read_text())
    assert manifest["options"]["category"] == list(MULTI_TURN_CATEGORIES)


@real_data
def test_the_command_makes_the_categories_that_are_asked_for_and_knows_no_single_turn_ones(tmp_path):
    options = ["--multi-turn", "--categories", "multi_turn_miss_param", "--validation-share", 1, "--format", "hermes"]
    assert run("bfcl", *options, "--out", tmp_path / "out").exit_code == 0
    rows = pq.read_table(tmp_path / "out" / "validation.parquet").to_pylist()
    assert {row["data_source"] for row in rows} == {"bfcl_multi_turn_miss_param"}
    done = run("bfcl", "--multi-turn", "--categories", "multiple", "--out", tmp_path / "other")
    assert done.exit_code == 1 and "unknown multi-turn category of BFCL 'multiple'" in done.stderr


TASK = {
    "id": "t",
    "initial_config": {},
    "involved_classes": ["MathAPI"],
    "turns": [],
    "ground_truth": [[{"name": "mean", "arguments": {"numbers": [1]}}]],
    "long_context": False,
    "held_out": {},
}


def task_row(number=0, **extra_info):
    row = make_row("bfcl_multi_turn_base", number, "t", "test", [{"role": "user", "content": "c"}], "[]")
    return {**row, "extra_info": row["extra_info"] | extra_info}


@pytest.mark.parametrize(
    ("environment", "kwargs", "reason"),
    [
        ("bfcl_multi_turn", json.dumps(TASK), None),
        ("bfcl_multi", json.dumps(TASK), "unknown environment 'bfcl_multi': did you mean 'bfcl_multi_turn'"),
        ("bfcl_multi_turn", "{", "cannot be created: Expecting property name"),
        ("bfcl_multi_turn", None, "cannot be created"),
        ("bfcl_multi_turn", "[1]", "must be a JSON object as text"),
        ("bfcl_multi_turn", "{}", "refuses its environment_kwargs: .*ground_truth"),
        ("bfcl_multi_turn", json.dumps(TASK | {"turns": [[]]}), "refuses its environment_kwargs: .*turns has 1"),
    ],
)
def test_the_check_names_a_row_whose_environment_cannot_be_made(tmp_path, environment, kwargs, reason):
    row = task_row(environment=environment, environment_kwargs=kwargs)
    write_parquet([row], tmp_path / "a.parquet")
    report = check_files([tmp_path / "a.parquet"])
    if reason is None:
        assert report.problems == []
    else:
        (problem,) = report.problems
        assert problem.kind is Kind.TRUTH
        assert re.search(reason, " ".join(problem.reason.split()))


def test_rows_of_one_prompt_and_other_environments_are_no_contradiction_but_the_same_row_twice_is_named(tmp_path):
    texts = [json.dumps(TASK), json.dumps(TASK | {"long_context": True}), json.dumps(TASK)]
    rows = [
        task_row(number, environment="bfcl_multi_turn", environment_kwargs=text) for number, text in enumerate(texts)
    ]
    write_parquet(rows, tmp_path / "a.parquet")
    assert [(one.kind, one.row) for one in check_files([tmp_path / "a.parquet"]).problems] == [(Kind.DUPLICATE, 2)]


def test_a_row_without_environment_is_laid_out_as_before():
    row = make_row("s", 0, "i", "test", [{"role": "user", "content": "c"}], "t")
    assert row["extra_info"] == {"index": 0, "id": "i", "split": "test"}
    row = make_row("s", 0, "i", "test", [{"role": "user", "content": "c"}], "t", RowEnvironment("e", {"a": ["ü"]}))
    assert row["extra_info"]["environment"] == "e"
    assert row["extra_info"]["environment_kwargs"] == '{"a": ["ü"]}'


def test_the_built_in_template_lists_tools_the_same_way_by_themselves():
    template = PromptTemplate(BUILT_IN)
    tools = [Tool("f", "Does it.", {"type": "dict"}), Tool("g", "", {})]
    alone = template.render_tools(tools, "hermes")
    assert alone.startswith("1. Name: f\nDescription: Does it.\nParameters: {")
    assert f"**Available Tools**\n{alone}\n\n**Steps" in template.render(tools, "", "hermes")
