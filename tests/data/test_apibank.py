"""API-Bank's rows: from files written here, and from ToolRL's level 2 where it is at hand."""

import json

import pytest
from shared_data import APIBANK

from rest_verl.data.apibank import apibank_rows
from rest_verl.reward.truth import read_ground_truth

CALL = {"name": "Find", "parameters": {"q": "北京"}}


def question(answer=CALL, **changed):
    return {"system": "Tools.", "user": "Question", "answer": answer, "other": {"id": 0}, **changed}


@pytest.fixture
def written(tmp_path):
    def write(*rows, name="level2.json"):
        (tmp_path / name).write_text(json.dumps(rows))
        return tmp_path / name

    return write


def test_a_row_keeps_the_files_own_prompt_and_asks_for_the_call(written):
    (row,) = apibank_rows([written(question())])
    assert row["data_source"] == "apibank_level2"
    assert row["prompt"] == [{"role": "system", "content": "Tools."}, {"role": "user", "content": "Question"}]
    assert row["extra_info"] == {"index": 0, "id": "apibank_level2_0", "split": "test"}
    truth = row["reward_model"]["ground_truth"]
    assert truth.startswith("<think> ") and "北京" in truth
    assert truth.endswith('<tool_call>\n{"name": "Find", "parameters": {"q": "北京"}}\n</tool_call>')


def test_an_answer_may_be_a_list_of_calls(written):
    (row,) = apibank_rows([written(question([CALL, {"name": "Stop", "parameters": {}}]))])
    assert [call.name for call in read_ground_truth(row["reward_model"]["ground_truth"]).calls] == ["Find", "Stop"]


def test_levels_come_from_the_names_and_index_counts_through_all_files(written):
    paths = [written(question(), name="apibank_level1.json"), written(question(), question(), name="Level-3.json")]
    assert [(row["extra_info"]["id"], row["extra_info"]["index"]) for row in apibank_rows(paths)] == [
        ("apibank_level1_0", 0),
        ("apibank_level3_0", 1),
        ("apibank_level3_1", 2),
    ]


def test_a_given_level_outdoes_the_name(written):
    assert apibank_rows([written(question())], level=3)[0]["data_source"] == "apibank_level3"


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("test.json", None, r"test.json: the name does not contain the level .*--level"),
        ("level4.json", None, r"level4.json: level 4 does not exist; API-Bank has 1, 2, 3"),
        ("test.json", 0, r"test.json: level 0 does not exist"),
    ],
)
def test_a_level_that_is_not_there_is_refused(written, name, level, message):
    with pytest.raises(ValueError, match=message):
        apibank_rows([written(question(), name=name)], level)


def test_two_files_of_one_level_are_refused(written):
    with pytest.raises(ValueError, match=r"files of the same level: .*level1_a.json, .*level1_b.json"):
        apibank_rows([written(question(), name="level1_a.json"), written(question(), name="level1_b.json")])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": []}, r"'system' is not text \(the fields are prompt\)"),
        (question(user=None), "'user' is not text"),
        (question(answer=None), "'answer' must be .*got None"),
        (question(answer=[]), "'answer' must be"),
        (question(answer=[CALL, {"name": "Stop"}]), "'answer' must be"),
        (question(answer={"name": 3, "parameters": {}}), "'answer' must be"),
        (question(answer={"name": "Find", "parameters": "{}"}), "'answer' must be"),
    ],
)
def test_an_unusable_row_is_named_with_its_fault(written, row, message):
    with pytest.raises(ValueError, match=rf"level2.json, row 1: {message}"):
        apibank_rows([written(question(), row)])


@pytest.mark.skipif(not APIBANK.is_file(), reason="API-Bank's rows are not part of this project")
def test_level_2_has_67_rows_and_each_ground_truth_is_the_files_answer():
    rows = apibank_rows([APIBANK])
    answers = [row["answer"] for row in json.loads(APIBANK.read_text())]
    assert len(rows) == 67
    for row, answer in zip(rows, answers, strict=True):
        (call,) = read_ground_truth(row["reward_model"]["ground_truth"]).calls
        assert {"name": call.name, "parameters": call.arguments} == answer
