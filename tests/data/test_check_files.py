"""`rest-verl data check`: files that cannot be used, and schemas that verl or the reward cannot read."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked_rows import SCHEMA, found, row, run

from rest_verl.data.check import check_files
from rest_verl.data.check_schema import schema_differences

# --- files that cannot be used: one line each, and a failure


def only_line(path):
    done = run(path)
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith(f"{path}: ")
    return line


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_file_cut_short_is_one_line(good, kept):
    whole = good.read_bytes()
    good.write_bytes(whole[: int(len(whole) * kept)])
    assert "not a complete parquet file" in only_line(good)


def test_a_file_with_a_damaged_footer_is_one_line(good):
    content = bytearray(good.read_bytes())
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[start : start + 40] = b"\xff" * 40
    good.write_bytes(content)
    assert "not a complete parquet file" in only_line(good)


def test_a_file_of_no_bytes_is_one_line(tmp_path):
    path = tmp_path / "empty.parquet"
    path.touch()
    assert "the file is empty (0 bytes)" in only_line(path)


def test_a_file_without_rows_is_one_line(written):
    assert "the file has no rows" in only_line(written("empty", []))


def test_a_missing_file_and_a_folder_are_one_line_each(tmp_path):
    assert "No such file" in only_line(tmp_path / "absent.parquet")
    assert "cannot be read (Is a directory)" in only_line(tmp_path)


def test_a_file_that_is_damaged_between_its_ends_is_one_line(written):
    path = written("damaged", [row(index, f"question {index}" * 9) for index in range(400)], compression="gzip")
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    content[start + 40 : start + 120] = bytes(80)
    path.write_bytes(content)
    assert "damaged inside" in only_line(path)


def test_text_that_is_no_utf_8_is_one_line(written):
    table = pa.Table.from_pylist([row(0, "a")], SCHEMA)
    source = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    assert "UTF8" in only_line(written("broken", table.set_column(0, "data_source", source)))


TEXTS = pa.struct({"role": pa.string(), "content": pa.string()})


@pytest.mark.parametrize(
    ("column", "kind", "said"),
    [
        ("data_source", None, "the column 'data_source' (string) is missing"),
        ("data_source", pa.int64(), "the column 'data_source' must be string but is int64"),
        ("prompt", pa.string(), "'prompt' must be list<struct<role: string, content: string>> but is string"),
        ("prompt", TEXTS, "the column 'prompt' must be list<"),
        ("prompt", pa.list_(pa.struct({"role": pa.string()})), "but is list<"),
        ("prompt", pa.list_(pa.struct({"role": pa.string(), "content": pa.list_(pa.string())})), "but is list<"),
        ("reward_model", None, "the column 'reward_model' (struct<ground_truth: string>) is missing"),
        ("reward_model", pa.struct({"style": pa.string()}), "must be struct<ground_truth: string> but is struct<"),
        ("reward_model", pa.struct({"ground_truth": pa.list_(pa.string())}), "must be struct<ground_truth: string>"),
        ("extra_info", pa.string(), "the column 'extra_info' must be struct but is string"),
    ],
)
def test_a_schema_that_verl_or_the_reward_cannot_read_is_one_line(written, column, kind, said):
    rest = [field for field in SCHEMA if field.name != column]
    schema = pa.schema(rest if kind is None else [*rest, pa.field(column, kind)])
    rows = [{field.name: row(0, "a")[field.name] for field in rest}]
    assert said in only_line(written("schema", rows, schema))


def test_all_that_is_wrong_with_a_schema_is_in_one_line_with_the_columns_found(written):
    line = only_line(written("other", pa.table({"question": ["a"], "data_source": [1]})))
    assert all(f"'{name}'" in line for name in ("data_source", "prompt", "reward_model"))
    assert "(found: question, data_source)" in line


def test_a_column_named_twice_is_one_line(written):
    table = pa.Table.from_pylist([row(0, "a")], SCHEMA)
    twice = table.append_column("prompt", table.column("prompt"))
    assert "2 columns are named 'prompt'; keep one" in only_line(written("twice", twice))


def test_columns_and_fields_beyond_the_layout_are_no_fault(written):
    schema = pa.schema([*SCHEMA, pa.field("note", pa.int64())])
    assert found(check_files([written("more", [{**row(0, "a"), "note": 1}], schema)])) == []


def test_files_that_can_be_used_are_checked_beside_one_that_cannot(good, tmp_path):
    done = run(tmp_path / "absent.parquet", good)
    assert done.exit_code == 1
    assert re.search(r"rows +│ 40 ", done.output) and "absent.parquet: cannot be read" in done.output


# --- files that verl reads as one data set

INT, TEXT = pa.int64(), pa.string()
PLAIN = {"prompt": pa.list_(TEXTS), "extra": pa.struct({"index": INT, "id": TEXT}), "text": TEXT}


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, []),
        ({"extra": pa.struct({"id": TEXT, "index": INT})}, []),
        ({"prompt": pa.list_(pa.struct({"content": TEXT, "role": TEXT}))}, []),
        ({"text": None}, []),
        ({"more": TEXT}, []),
        ({"extra": pa.struct({"index": INT})}, []),
        ({"extra": pa.struct({"index": INT, "more": TEXT})}, []),
        ({"extra": pa.struct({"index": pa.int32(), "id": TEXT})}, ["extra.index"]),
        ({"extra": pa.struct({"index": TEXT, "id": INT})}, ["extra.index", "extra.id"]),
        ({"extra": pa.struct({"index": INT, "id": pa.null()})}, []),
        ({"extra": TEXT}, ["extra"]),
        ({"extra": pa.null()}, ["extra"]),
        ({"text": pa.null()}, []),
        ({"text": pa.large_string()}, ["text"]),
        ({"text": pa.dictionary(pa.int32(), TEXT)}, []),
        ({"prompt": pa.large_list(TEXTS)}, ["prompt"]),
        ({"prompt": pa.list_(pa.null())}, []),
        ({"prompt": pa.list_(pa.struct({"role": TEXT, "content": TEXT, "name": TEXT}))}, ["prompt"]),
        ({"prompt": pa.list_(pa.struct({"role": TEXT, "content": pa.null()}))}, ["prompt"]),
    ],
)
def test_fields_that_differ_are_named_exactly_where_the_library_that_verl_uses_refuses(changes, differs):
    changed = {name: kind for name, kind in (PLAIN | changes).items() if kind is not None}
    first, second = pa.schema(PLAIN), pa.schema(changed)
    for one, other in ((first, second), (second, first)):
        assert sorted(line.split()[0] for line in schema_differences(one, other)) == sorted(differs)
    datasets = pytest.importorskip("datasets", reason="verl reads with it; not installed here")
    sets = [datasets.Dataset(pa.Table.from_pylist([dict.fromkeys(kinds)], kinds)) for kinds in (first, second)]
    refused = 0
    for pair in (sets, sets[::-1]):
        try:
            datasets.concatenate_datasets(pair)
        except (ValueError, AttributeError):  # the latter for null beside a struct, in one of the two orders
            refused += 1
    assert bool(refused) == bool(differs)


def test_files_that_verl_cannot_concatenate_are_a_warning_that_names_the_field(good, written):
    extra = pa.struct({"index": pa.int32(), "id": pa.string(), "split": pa.string()})
    schema = SCHEMA.set(SCHEMA.get_field_index("extra_info"), pa.field("extra_info", extra))
    done = run(good, other := written("other", [row(0, "another")], schema))
    assert done.exit_code == 0
    assert (
        f"{good} and {other}: verl cannot concatenate them: extra_info.index is int64 in one and int32 in the other"
        in done.output
    )
