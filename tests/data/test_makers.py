"""Rows that come from the published files: good ones in verl's layout, bad ones refused with file, row, fault and
remedy. Of ToolRL (read_rlla), and of API-Bank where its level 2 is at hand."""

import json

import pandas as pd
import pytest
from shared_data import APIBANK, TOOLRL_TEST

from rest_verl.data.apibank import apibank_rows
from rest_verl.data.rlla import read_rlla
from rest_verl.reward.truth import read_ground_truth

CALL = '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
ANSWER = "<think> t </think>\n<response> Hi. </response>"


def row(index, ground_truth):
    """A row as ToolRL writes it: with more in extra_info than is wanted here."""
    return {
        "data_source": "rlla",
        "prompt": [{"role": "system", "content": "Tools."}, {"role": "user", "content": f"Question {index}"}],
        "ability": "math",
        "reward_model": {"ground_truth": ground_truth, "style": "rule"},
        "extra_info": {"index": index + 7, "split": "test", "instruction": "Tools.", "input": f"Question {index}"},
    }


def made(index, ground_truth):
    """The same row in the one layout of all rows made here."""
    return {
        **row(index, ground_truth),
        "ability": "tool_use",
        "extra_info": {"index": index, "id": f"rlla_{index}", "split": "train"},
    }


EXPECTED = [made(0, CALL), made(1, ANSWER), made(2, CALL + "\n<response> Done. </response>")]


@pytest.fixture
def good():
    return [row(0, CALL), row(1, ANSWER), row(2, CALL + "\n<response> Done. </response>")]


def written(rows, folder):
    path = folder / "rlla.parquet"
    pd.DataFrame(rows, columns=None if rows else ["prompt", "reward_model"]).to_parquet(path)
    return path


def test_rows_come_back_in_the_one_layout_and_as_plain_python_values(good, tmp_path):
    rows = read_rlla(str(written(good, tmp_path)))
    assert rows == EXPECTED
    assert type(rows[0]["prompt"]) is list and type(rows[0]["extra_info"]["index"]) is int


def test_a_data_source_and_an_id_of_its_own_stay(good, tmp_path):
    good[1] |= {"data_source": "mine", "extra_info": {"id": "q-1"}}
    row = read_rlla(written(good, tmp_path))[1]
    assert (row["data_source"], row["extra_info"]) == ("mine", {"index": 1, "id": "q-1", "split": "train"})


@pytest.mark.parametrize(
    "odd", [{"extra_info": "text"}, {"extra_info": {"id": 7}}, {"data_source": 3}, {"data_source": ""}]
)
def test_fields_that_only_name_a_row_are_replaced_where_they_are_no_text(good, tmp_path, odd):
    good[1] |= odd
    (tmp_path / "rows.json").write_text(json.dumps(good))
    assert read_rlla(tmp_path / "rows.json") == EXPECTED


@pytest.mark.parametrize("names", [("instruction", "input"), ("system", "user")])
def test_raw_rows_of_three_fields_are_read_as_json_list_json_lines_and_parquet(tmp_path, names):
    raw = [
        {names[0]: "Tools.", names[1]: f"Question {entry['extra_info']['index']}", "output": truth_of(entry)}
        for entry in EXPECTED
    ]
    lines = "\n".join(json.dumps(entry) for entry in raw)
    for name, text in {"a.json": json.dumps(raw, indent=1), "b.jsonl": lines + "\n\n", "c.json": lines}.items():
        (tmp_path / name).write_text(text)
        assert read_rlla(tmp_path / name) == EXPECTED
    pd.DataFrame(raw).to_parquet(tmp_path / "d.parquet")
    assert read_rlla(tmp_path / "d.parquet") == EXPECTED


def truth_of(entry):
    return entry["reward_model"]["ground_truth"]


def test_json_rows_in_verls_layout_are_read(good, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, good)))
    assert read_rlla(tmp_path / "rows.jsonl") == EXPECTED


def test_progress_is_told_row_by_row(good, tmp_path):
    told = []
    read_rlla(written(good, tmp_path), lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_named_like_a_hive_partition_changes_nothing(good, tmp_path):
    folder = tmp_path / "split=train"
    folder.mkdir()
    assert read_rlla(written(good, folder)) == EXPECTED


def test_fields_of_another_layout_are_named(good, tmp_path):
    rows = [{key: entry[key] for key in ("data_source", "ability", "extra_info")} for entry in good]
    with pytest.raises(ValueError, match=r"rlla.parquet, row 0: the fields are data_source, ability, .*2 more rows"):
        read_rlla(written(rows, tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"prompt": [', r"rows.json: not complete JSON, perhaps truncated.*again"),
        ('{"a": 1}\n{"a": ', r"rows.json, line 2: not complete JSON"),
        ("[" * 100_000, r"rows.json: not complete JSON"),
        ("[1]", r"rows.json, row 0: a row must be a JSON object, got 1"),
        ("[]", r"rows.json: the file has no rows"),
        ("\n\n", r"rows.json: the file has no rows"),
        ("", r"rows.json: the file is empty"),
    ],
)
def test_broken_json_is_refused(tmp_path, text, message):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_rlla(tmp_path / "rows.json")


def test_a_file_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rlla.parquet: the file has no rows"):
        read_rlla(written([], tmp_path))


def test_a_file_of_no_bytes_is_refused(tmp_path):
    path = tmp_path / "rlla.parquet"
    path.touch()
    with pytest.raises(ValueError, match=r"rlla.parquet: the file is empty"):
        read_rlla(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(good, tmp_path, kept):
    path = written(good, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValueError, match=r"rlla.parquet: not a complete parquet file.*again"):
        read_rlla(path)


def test_a_file_damaged_inside_is_refused_or_read_but_never_crashes_otherwise(good, tmp_path):
    path = written(good, tmp_path)
    whole = path.read_bytes()
    for start in range(4, len(whole) - 64, len(whole) // 16):
        path.write_bytes(whole[:start] + b"\xff" * 64 + whole[start + 64 :])
        try:
            read_rlla(path)
        except ValueError as error:
            assert "rlla.parquet" in str(error)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "rlla.parquet"
    path.write_text('{"prompt": []}')
    with pytest.raises(ValueError, match=r"not a complete parquet file"):
        read_rlla(path)


def test_a_path_without_a_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.parquet: no such file"):
        read_rlla(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reward_model": {"ground_truth": "42", "style": "rule"}}, "neither <tool_call> nor <response>.*'42'.*drop"),
        ({"reward_model": {"ground_truth": None, "style": "rule"}}, "'reward_model' has no text in 'ground_truth'"),
        ({"reward_model": None}, "'reward_model' has no text in 'ground_truth'"),
        ({"prompt": []}, "'prompt' is not a list of messages"),
        ({"prompt": None}, "'prompt' is not a list of messages"),
        ({"prompt": [{"role": "user", "content": None}]}, "lacks 'role' or 'content' as text"),
    ],
)
def test_an_unusable_row_is_named_with_its_fault(good, tmp_path, changed, message):
    good[1] |= changed
    with pytest.raises(ValueError, match=f"rlla.parquet, row 1: .*{message}"):
        read_rlla(written(good, tmp_path))


def test_prompts_stored_as_text_are_named(good, tmp_path):
    with pytest.raises(ValueError, match=r"row 0: 'prompt' is not a list of messages.*2 more rows"):
        read_rlla(written([{**entry, "prompt": "Question"} for entry in good], tmp_path))


@pytest.mark.skipif(not TOOLRL_TEST.is_file(), reason="ToolRL's test rows are not part of this project")
def test_toolrls_own_test_rows_are_read():
    rows = read_rlla(TOOLRL_TEST)
    assert len(rows) == 80
    assert [entry["extra_info"]["index"] for entry in rows] == list(range(80))
    assert {entry["data_source"] for entry in rows} == {"rlla"}
    assert sum("<tool_call>" in entry["reward_model"]["ground_truth"] for entry in rows) == 71


FIND = {"name": "Find", "parameters": {"q": "北京"}}


def question(answer=FIND, **changed):
    return {"system": "Tools.", "user": "Question", "answer": answer, "other": {"id": 0}, **changed}


@pytest.fixture
def question_file(tmp_path):
    def write(*rows, name="level2.json"):
        (tmp_path / name).write_text(json.dumps(rows))
        return tmp_path / name

    return write


def test_a_row_keeps_the_files_own_prompt_and_asks_for_the_call(question_file):
    (row,) = apibank_rows([question_file(question())])
    assert row["data_source"] == "apibank_level2"
    assert row["prompt"] == [{"role": "system", "content": "Tools."}, {"role": "user", "content": "Question"}]
    assert row["extra_info"] == {"index": 0, "id": "apibank_level2_0", "split": "test"}
    truth = row["reward_model"]["ground_truth"]
    assert truth.startswith("<think> ") and "北京" in truth
    assert truth.endswith('<tool_call>\n{"name": "Find", "parameters": {"q": "北京"}}\n</tool_call>')


def test_an_answer_may_be_a_list_of_calls(question_file):
    (row,) = apibank_rows([question_file(question([FIND, {"name": "Stop", "parameters": {}}]))])
    assert [call.name for call in read_ground_truth(row["reward_model"]["ground_truth"]).calls] == ["Find", "Stop"]


def test_levels_come_from_the_names_and_index_counts_through_all_files(question_file):
    paths = [
        question_file(question(), name="apibank_level1.json"),
        question_file(question(), question(), name="Level-3.json"),
    ]
    assert [(row["extra_info"]["id"], row["extra_info"]["index"]) for row in apibank_rows(paths)] == [
        ("apibank_level1_0", 0),
        ("apibank_level3_0", 1),
        ("apibank_level3_1", 2),
    ]


def test_a_given_level_outdoes_the_name(question_file):
    assert apibank_rows([question_file(question())], level=3)[0]["data_source"] == "apibank_level3"


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("test.json", None, r"test.json: the name does not contain the level .*--level"),
        ("level4.json", None, r"level4.json: level 4 does not exist; API-Bank has 1, 2, 3"),
        ("test.json", 0, r"test.json: level 0 does not exist"),
    ],
)
def test_a_level_that_is_not_there_is_refused(question_file, name, level, message):
    with pytest.raises(ValueError, match=message):
        apibank_rows([question_file(question(), name=name)], level)


def test_two_files_of_one_level_are_refused(question_file):
    with pytest.raises(ValueError, match=r"files of the same level: .*level1_a.json, .*level1_b.json"):
        apibank_rows(
            [question_file(question(), name="level1_a.json"), question_file(question(), name="level1_b.json")]
        )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": []}, r"'system' is not text \(the fields are prompt\)"),
        (question(user=None), "'user' is not text"),
        (question(answer=None), "'answer' must be .*got None"),
        (question(answer=[]), "'answer' must be"),
        (question(answer=[FIND, {"name": "Stop"}]), "'answer' must be"),
        (question(answer={"name": 3, "parameters": {}}), "'answer' must be"),
        (question(answer={"name": "Find", "parameters": "{}"}), "'answer' must be"),
    ],
)
def test_an_unusable_question_is_named_with_its_fault(question_file, row, message):
    with pytest.raises(ValueError, match=rf"level2.json, row 1: {message}"):
        apibank_rows([question_file(question(), row)])


@pytest.mark.skipif(not APIBANK.is_file(), reason="API-Bank's rows are not part of this project")
def test_level_2_has_67_rows_and_each_ground_truth_is_the_files_answer():
    rows = apibank_rows([APIBANK])
    answers = [row["answer"] for row in json.loads(APIBANK.read_text())]
    assert len(rows) == 67
    for row, answer in zip(rows, answers, strict=True):
        (call,) = read_ground_truth(row["reward_model"]["ground_truth"]).calls
        assert {"name": call.name, "parameters": call.arguments} == answer
