"""`rest-verl inspect` on files that are damaged, cut short or of another release: one line with the file's name."""

import json
import random

import pyarrow as pa
import pytest
from command_line import one_error_line
from pyarrow import parquet
from record_tables import Part, record, records_of, step_rows, write_step
from tiers import in_full
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.commands.inspect.step_data import step_data
from rest_verl.records.schema import SCHEMA, StepRecords, read_step

ROWS = [record([Part("a b", "think"), Part("c", "name")]) for _ in range(3)]
META = {
    "step": 7,
    "total_steps": 9,
    "format": "hermes",
    "scheme": "paper",
    "apply_in": "loss",
    "base_estimator": "grpo",
    "trajectories": 6,
    "version": 1,
}


def inspect(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def error_of(path, out):
    """The one line of the command, which has the file's name."""
    error = one_error_line(inspect(path, "--out", out / "page.html"))
    assert "step_000001.parquet: " in error and not (out / "page.html").exists()
    return error


def written(folder, table, meta=None):
    path = folder / "step_000001.parquet"
    if meta is not None:
        table = table.replace_schema_metadata({b"rest_verl": meta})
    parquet.write_table(table, path)
    return path


def table_of(rows=ROWS):
    return records_of(rows, 1).table


@pytest.mark.parametrize("column", [name for name in SCHEMA.names if name != "events"])
def test_a_missing_column_is_named(tmp_path, column):
    path = written(tmp_path, table_of().drop_columns([column]))
    assert f"it has no column {column}: " in error_of(path, tmp_path)
    assert f"it has no column {column}: " in error_of(tmp_path, tmp_path)


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_column_of_another_type_is_named(tmp_path, column):
    table = table_of()
    wrong = pa.array([{"odd": 1}] * len(ROWS))
    path = written(tmp_path, table.set_column(table.column_names.index(column), column, wrong))
    assert f"column {column} holds struct<odd: int64>" in error_of(path, tmp_path)


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"1e999",
        b"\xff\xfe",
        b"[" * 100_000,
        *(json.dumps({key: value for key, value in META.items() if key != name}).encode() for name in META),
        *(json.dumps(META | {name: None}).encode() for name in META),
        *(json.dumps(META | {name: [1]}).encode() for name in META),
        json.dumps(META | {"step": True}).encode(),
        json.dumps(META | {"version": "1"}).encode(),
        json.dumps(META | {"version": 2}).encode(),
    ],
    ids=lambda meta: repr(meta[:40]),
)
def test_odd_metadata_is_one_line(tmp_path, meta):
    error_of(written(tmp_path, table_of(), meta), tmp_path)


def test_metadata_with_more_keys_is_read(tmp_path):
    """A later release may note more about a run."""
    path = written(tmp_path, table_of(), json.dumps(META | {"later": 1}).encode())
    assert read_step(path).meta.step == 7


OPTIONAL = ("data_source", "score", "group_scores", "reward", "prompt_ids", "prompt", "turns", "events")
NUMBERS = ("entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob")


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_null_is_shown_or_named(tmp_path, column):
    path = written(tmp_path, table_of([ROWS[0], ROWS[1] | {column: None}]))
    if column in (*OPTIONAL, *NUMBERS):
        assert inspect(path, "--out", tmp_path / "page.html").exit_code == 0
    else:
        assert f"row 1: no {column}" in error_of(path, tmp_path)


@pytest.mark.parametrize("column", ["ids", "bytes", "generated", "trained", "region", "prompt_ids", "turns"])
def test_a_null_in_a_list_is_named(tmp_path, column):
    items = [*ROWS[1][column][:-1], None] if ROWS[1][column] else [None]
    path = written(tmp_path, table_of([ROWS[0], ROWS[1] | {column: items}]))
    assert f"row 1: null in {column}" in error_of(path, tmp_path)


@pytest.mark.parametrize("column", [*NUMBERS, "group_scores"])
def test_a_null_among_numbers_is_shown(tmp_path, column):
    path = written(tmp_path, table_of([ROWS[0] | {column: [*ROWS[0][column][:-1], None]}]))
    assert inspect(path, "--out", tmp_path / "page.html").exit_code == 0


def test_a_null_among_events_is_named(tmp_path):
    path = written(tmp_path, table_of([ROWS[0] | {"events": [None]}]))
    assert "row 0: null in events" in error_of(path, tmp_path)


@pytest.mark.parametrize("event", [{"token": -1}, {"token": 9_999}, {"token": None}, {"amount": None}])
def test_an_event_outside_of_its_row_is_named(tmp_path, event):
    table = table_of([ROWS[0] | {"events": [{"token": 0, "amount": 0.5} | event]}])
    assert "row 0: an event {'token': " in error_of(written(tmp_path, table), tmp_path)


TURN = {"begin": 0, "end": 1, "user_turn": 0, "seconds": 0.1, "calls": []}


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"begin": None}, "a turn from token None"),
        ({"end": None}, "to None of"),
        ({"begin": -1}, "a turn from token -1"),
        ({"end": 99}, "to 99 of"),
        ({"begin": 2}, "a turn from token 2 to 1"),
        ({"calls": [None]}, "null in the calls of a turn"),
    ],
)
def test_a_turn_outside_of_its_row_is_named(tmp_path, turn, said):
    assert said in error_of(written(tmp_path, table_of([ROWS[0] | {"turns": [TURN | turn]}])), tmp_path)


def test_null_parts_of_a_turn_are_shown(tmp_path):
    call = dict.fromkeys(("name", "arguments", "result", "error", "seconds"))
    turns = [TURN | {"calls": None, "seconds": None, "user_turn": None}, TURN | {"calls": [call]}]
    path = written(tmp_path, table_of([ROWS[0] | {"turns": turns}]))
    assert inspect(path, "--out", tmp_path / "page.html").exit_code == 0


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and no more", b"x" * 1000, b"PAR1" + bytes(100) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_one_line(tmp_path, content):
    (tmp_path / "step_000001.parquet").write_bytes(content)
    error_of(tmp_path, tmp_path)


def test_a_folder_with_the_name_of_a_file_is_one_line(tmp_path):
    (tmp_path / "step_000001.parquet").mkdir()
    error_of(tmp_path, tmp_path)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_any_damage_to_a_file_is_one_line_or_a_page(tmp_path, compression):
    """Bytes that are changed, cut out or cut off: the reader says so, or what is left is a whole step."""
    path = write_step(tmp_path, step_rows(1, groups=1, group_size=2, words=6))
    parquet.write_table(parquet.read_table(path), path, compression=compression)
    whole, rng = path.read_bytes(), random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(in_full(150, 5000)):
        damaged = bytearray(whole)
        kind = rng.randrange(3)
        if kind == 0:
            for _ in range(rng.choice([1, 2, 8, 64])):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        elif kind == 1:
            begin = rng.randrange(len(damaged))
            del damaged[begin : begin + rng.randrange(1, 64)]
        else:
            del damaged[rng.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            records = read_step(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        try:
            step_data(StepRecords(records.meta, records.table))
        except ValueError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 50
