"""A data set's folder: one layout for all makers, a manifest that fits the files, the same bytes each time."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest

from rest_verl.data.data_set import Origin, file_source, write_data_set
from rest_verl.data.rows import SCHEMA, make_row

ORIGIN = Origin("rlla", [{"file": "a.json", "sha256": "00"}], {"format": "rlla"})


def rows(count, source="rlla"):
    return [
        make_row(source, n, f"{source}_{n}", "train", [{"role": "user", "content": f"Q {n}"}], "t", tools="[]")
        for n in range(count)
    ]


def read(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_files_have_the_one_schema_and_the_manifest_says_what_is_in_them(tmp_path):
    counts = write_data_set(rows(40) + rows(9, "other"), 0.5, tmp_path, ORIGIN)
    manifest = read(tmp_path)
    assert manifest["rows"] == counts and sum(counts["train"].values()) + sum(counts["validation"].values()) == 49
    assert manifest["sources"] == ORIGIN.sources and manifest["command"] == "rlla"
    assert manifest["options"] == {"format": "rlla", "validation_share": 0.5}
    assert set(manifest["sha256"]) == {"train.parquet", "validation.parquet"}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
        assert pq.read_schema(tmp_path / name).equals(SCHEMA)
    side = pq.read_table(tmp_path / "validation.parquet").to_pylist()
    assert len(side) == counts["validation"].total()
    assert {row["extra_info"]["split"] for row in side} == {"validation"}


def test_two_runs_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_data_set(rows(30), 0.3, tmp_path / name, ORIGIN)
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {"train.parquet", "validation.parquet", "manifest.json"}
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


@pytest.mark.parametrize(("share", "kept"), [(0.0, "train"), (1.0, "validation")])
def test_a_side_without_rows_has_no_file_not_even_an_older_one(tmp_path, share, kept):
    write_data_set(rows(30), 0.5, tmp_path, ORIGIN)
    write_data_set(rows(30), share, tmp_path, ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == {f"{kept}.parquet", "manifest.json"}
    assert list(read(tmp_path)["sha256"]) == [f"{kept}.parquet"]


def test_a_run_that_breaks_off_leaves_no_manifest_beside_files_that_it_does_not_fit(tmp_path, monkeypatch):
    write_data_set(rows(30), 0.5, tmp_path, ORIGIN)

    def full(table, path):
        raise OSError("disk full")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="disk full"):
        write_data_set(rows(31), 0.5, tmp_path, ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == {"train.parquet", "validation.parquet"}


def test_a_split_that_is_refused_touches_nothing(tmp_path):
    write_data_set(rows(30), 0.5, tmp_path, ORIGIN)
    before = read(tmp_path)
    with pytest.raises(ValueError, match=r"none of the 1 rows"):
        write_data_set(rows(1), 0.5, tmp_path, ORIGIN)
    assert read(tmp_path) == before


def test_a_source_is_named_without_its_folder(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[]")
    assert file_source(tmp_path / "a.json") == {"file": "a.json", "sha256": hashlib.sha256(b"[]").hexdigest()}
