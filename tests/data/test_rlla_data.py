"""read_rlla: good files come back as plain rows, bad ones are refused with file, row, fault and remedy."""

from pathlib import Path

import pandas as pd
import pytest

from rest_verl.data.rlla import COLUMNS, read_rlla

CALL = '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
ANSWER = "<think> t </think>\n<response> Hi. </response>"
TOOLRL_TEST = Path(__file__).parents[3] / "shared" / "data" / "rlla_test.parquet"


def row(index, ground_truth):
    return {
        "data_source": "rlla",
        "prompt": [{"role": "system", "content": "Tools."}, {"role": "user", "content": f"Question {index}"}],
        "ability": "math",
        "reward_model": {"ground_truth": ground_truth, "style": "rule"},
        "extra_info": {"index": index, "split": "test"},
    }


@pytest.fixture
def good():
    return [row(0, CALL), row(1, ANSWER), row(2, CALL + "\n<response> Done. </response>")]


def written(rows, folder):
    path = folder / "rlla.parquet"
    pd.DataFrame(rows, columns=None if rows else list(COLUMNS)).to_parquet(path)
    return path


def test_rows_come_back_as_plain_python_values(good, tmp_path):
    rows = read_rlla(written(good, tmp_path))
    assert rows == good
    assert type(rows[0]["prompt"]) is list and type(rows[0]["extra_info"]["index"]) is int


def test_further_columns_are_kept(good, tmp_path):
    rows = read_rlla(str(written([{**entry, "note": "n"} for entry in good], tmp_path)))
    assert [entry["note"] for entry in rows] == ["n", "n", "n"]


def test_a_folder_named_like_a_hive_partition_adds_no_column(good, tmp_path):
    folder = tmp_path / "split=train"
    folder.mkdir()
    assert read_rlla(written(good, folder)) == good


def test_missing_columns_are_all_named(good, tmp_path):
    rows = [{key: entry[key] for key in ("data_source", "ability", "extra_info")} for entry in good]
    with pytest.raises(
        ValueError, match=r"rlla.parquet: the columns prompt, reward_model are missing \(found: data_s"
    ):
        read_rlla(written(rows, tmp_path))


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
    with pytest.raises(ValueError, match=r"rlla.parquet: not a whole parquet file.*again"):
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
    with pytest.raises(ValueError, match=r"not a whole parquet file"):
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
    assert {entry["data_source"] for entry in rows} == {"rlla"}
    assert sum("<tool_call>" in entry["reward_model"]["ground_truth"] for entry in rows) == 71
