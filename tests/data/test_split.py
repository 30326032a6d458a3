"""split_by_hash keeps questions apart for good; write_parquet gives back what verl expects or refuses loudly."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples

from rest_verl.data.data_set import split_by_hash, write_parquet


def row(question, system="Tools.", **extra_info):
    prompt = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return {
        "data_source": "bfcl_multiple",
        "prompt": prompt,
        "reward_model": {"style": "rule", "ground_truth": "<response> x </response>"},
        "extra_info": extra_info,
    }


def questions(rows):
    return [entry["prompt"][1]["content"] for entry in rows]


MANY = [row(f"Question {number}", index=number) for number in range(1000)]


def test_the_share_is_met_on_average_and_every_row_is_kept_once_and_in_order():
    train, validation = split_by_hash(MANY, 0.2, "a")
    assert 150 < len(validation) < 250  # four standard deviations about 200
    order = [entry["extra_info"]["index"] for entry in train]
    assert order == sorted(order)
    assert sorted(questions(train + validation)) == sorted(questions(MANY))


def test_the_side_is_written_into_extra_info_and_the_given_rows_stay_as_they_were():
    rows = [*MANY, {"prompt": [{"role": "user", "content": "No extra_info"}]}]
    train, validation = split_by_hash(rows, 0.5)
    assert {entry["extra_info"]["split"] for entry in train} == {"train"}
    assert {entry["extra_info"]["split"] for entry in validation} == {"validation"}
    assert all("split" not in entry["extra_info"] for entry in MANY) and "extra_info" not in rows[-1]


@given(st.lists(st.text(max_size=8), max_size=40), st.floats(0, 1), st.text(max_size=5))
@examples(60)
def test_one_question_is_never_on_both_sides(texts, share, key):
    rows = [row(text, system=f"Tools {number % 3}") for number, text in enumerate(texts + texts[::-1])]
    try:
        train, validation = split_by_hash(rows, share, key)
    except ValueError as error:
        assert "side" in str(error)
    else:
        assert not set(questions(train)) & set(questions(validation))
        assert len(train) + len(validation) == len(rows)


def test_new_rows_move_no_old_ones():
    _, before = split_by_hash(MANY[:500], 0.3, "a")
    _, after = split_by_hash(MANY[::-1], 0.3, "a")
    assert set(questions(before)) == set(questions(after)) & set(questions(MANY[:500]))


def test_a_larger_share_keeps_the_rows_of_a_smaller_one():
    small, large = (set(questions(split_by_hash(MANY, share)[1])) for share in (0.1, 0.3))
    assert small < large


def test_another_key_gives_another_split():
    assert questions(split_by_hash(MANY, 0.5, "a")[1]) != questions(split_by_hash(MANY, 0.5, "b")[1])


def test_the_split_is_the_same_in_another_process():
    code = (
        "from rest_verl.data.data_set import split_by_hash\n"
        "rows = [{'prompt': [{'role': 'user', 'content': f'Question {n}'}]} for n in range(50)]\n"
        "print([row['prompt'][0]['content'] for row in split_by_hash(rows, 0.5, 'k')[1]])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == str(questions(split_by_hash(MANY[:50], 0.5, "k")[1]))


def test_rows_as_pandas_reads_them_are_split_the_same_way(tmp_path):
    write_parquet(MANY, tmp_path / "rows.parquet")
    from_pandas = pd.read_parquet(tmp_path / "rows.parquet").to_dict("records")  # prompt is a numpy array here
    assert questions(split_by_hash(from_pandas, 0.3)[1]) == questions(split_by_hash(MANY, 0.3)[1])


def test_a_prompt_of_system_messages_alone_is_split_by_them():
    rows = [{"prompt": [{"role": "system", "content": f"Task {number}"}]} for number in range(100)]
    train, validation = split_by_hash(rows, 0.5)
    assert train and validation


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(share):
    with pytest.raises(ValueError, match=r"validation_share must lie between 0 and 1"):
        split_by_hash(MANY, share)


def test_a_share_of_zero_or_one_puts_all_rows_on_one_side():
    assert [len(side) for side in split_by_hash(MANY, 0)] == [1000, 0]
    assert [len(side) for side in split_by_hash(MANY, 1)] == [0, 1000]


def test_an_empty_side_that_was_asked_for_is_refused():
    with pytest.raises(ValueError, match=r"none of the 9 rows fell on the (train|validation) side.*a different key"):
        split_by_hash([row("The same question")] * 9, 0.5)


@pytest.mark.parametrize("prompt", [None, [], "text", {"role": "user"}, ["text"], [{"role": "user"}]])
def test_a_row_without_a_prompt_is_named(prompt):
    with pytest.raises(ValueError, match=r"row 1: 'prompt' must be a list of messages"):
        split_by_hash([row("a"), {"prompt": prompt}], 0.5)


def test_pandas_reads_prompts_back_as_dicts(tmp_path):
    rows = [row("Wie heißt 北京?", index=0, id="a"), row("b", index=1, id="b")]
    write_parquet(rows, str(tmp_path / "new" / "folder" / "rows.parquet"))
    frame = pd.read_parquet(tmp_path / "new" / "folder" / "rows.parquet")
    assert [list(prompt) for prompt in frame["prompt"]] == [entry["prompt"] for entry in rows]
    assert list(frame["reward_model"]) == [entry["reward_model"] for entry in rows]
    assert list(frame["extra_info"]) == [entry["extra_info"] for entry in rows]


def test_the_reader_that_verl_uses_gives_the_rows_back(tmp_path):
    datasets = pytest.importorskip("datasets", reason="verl reads with it; not installed here")
    write_parquet(MANY[:5], tmp_path / "rows.parquet")
    read = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert list(read["train"]) == MANY[:5]


def test_keys_and_columns_that_only_later_rows_have_are_kept(tmp_path):
    rows = [row("a", index=0), {**row("b", index=1, id="b"), "ability": "tool_use"}]
    write_parquet(rows, tmp_path / "rows.parquet")
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    assert list(frame["ability"])[1] == "tool_use" and pd.isna(frame["ability"][0])
    assert list(frame["extra_info"]) == [{"index": 0, "id": None}, {"index": 1, "id": "b"}]


@pytest.mark.parametrize("odd", ["text", [1], {"a": 1}, b"x"])
def test_values_of_mixed_type_are_refused_with_column_and_row(tmp_path, odd):
    rows = [row(str(number), value=number) for number in range(20)]
    rows[13]["extra_info"]["value"] = odd
    with pytest.raises(ValueError, match=r"column 'extra_info': the value of row 13 does not fit.*JSON string"):
        write_parquet(rows, tmp_path / "rows.parquet")
    assert not (tmp_path / "rows.parquet").exists()


def test_a_dict_that_is_empty_in_every_row_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"rows.parquet: parquet cannot hold a dict that is always empty"):
        write_parquet([row("a")], tmp_path / "rows.parquet")
    assert not (tmp_path / "rows.parquet").exists()


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no rows to write"):
        write_parquet([], tmp_path / "rows.parquet")


def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    write_parquet([row("old", index=0)], path)
    before = path.read_bytes()

    def breaks_off(table, where):
        Path(where).write_bytes(b"PAR1")
        raise OSError("disk full")

    monkeypatch.setattr("pyarrow.parquet.write_table", breaks_off)
    with pytest.raises(OSError, match="disk full"):
        write_parquet([row("new", index=0)], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet"]
