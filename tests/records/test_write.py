"""Writing during training: whole files, bounded in size, and never the reason why a run ends. docs/records.md has
every column."""

import logging
import re
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from page_blocks import ROOT, blocks_of
from pyarrow import parquet
from read_only import read_only
from record_tables import records_of, step_rows
from tiers import HANG_GUARD

from rest_verl.config.rest import DumpConfig
from rest_verl.records.schema import CALL, SCHEMA, TURN, RecordMeta, read_step, step_files, with_meta
from rest_verl.records.write import RecordWriter

GIB = 1 << 30


def table(step, rows=1, text=b"x"):
    """Records of a step whose prompts are a text."""
    meta = RecordMeta(step, 10, "rlla", "paper", "loss", "grpo", trajectories=rows)
    columns = {name: pa.nulls(rows, SCHEMA.field(name).type) for name in SCHEMA.names}
    columns |= {"step": pa.array([step] * rows, pa.int32()), "prompt": pa.array([text] * rows, pa.binary())}
    return pa.table(columns, schema=with_meta(meta))


@pytest.fixture
def writer(tmp_path):
    """Function that makes a writer into a folder of its own; all are closed at the end."""
    made = []

    def make(folder=tmp_path / "records", every=1, max_bytes=GIB):
        made.append(RecordWriter(folder, every, max_bytes))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_for(condition):
    deadline = time.monotonic() + HANG_GUARD
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_file_a_step_and_nothing_else(writer, tmp_path):
    one = writer()
    for step in (1, 2):
        one.write(step, lambda step=step: table(step, rows=step))
        wait_for(lambda step=step: step in step_files(tmp_path / "records"))
    one.close()
    files = step_files(tmp_path / "records")
    assert {step: read_step(path).table.num_rows for step, path in files.items()} == {1: 1, 2: 2}
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == [
        "step_000001.parquet",
        "step_000002.parquet",
    ]


def test_two_batches_of_a_step_share_its_file(writer, tmp_path):
    one = writer()
    one.write(3, lambda: table(3, rows=2))
    one.write(3, lambda: table(3, rows=5))
    one.close()
    read = read_step(tmp_path / "records" / "step_000003.parquet")
    assert (read.table.num_rows, read.meta.trajectories) == (7, 7)


def test_only_every_so_many_steps_are_wanted(writer):
    assert [step for step in range(1, 10) if writer(every=3).wants(step)] == [3, 6, 9]


def test_a_full_folder_keeps_files_evenly_spread_over_the_run(writer, tmp_path):
    noise = bytes(range(256)) * 4
    one = writer(max_bytes=40_000)
    for step in range(1, 65):
        if one.wants(step):
            one.write(step, lambda step=step: table(step, text=noise * step))
            wait_for(lambda: one._worker.is_idle)
    one.close()
    files = step_files(tmp_path / "records")
    assert sum(path.stat().st_size for path in files.values()) <= 40_000
    steps = list(files)
    [distance] = {after - before for before, after in pairwise(steps)}
    assert len(steps) >= 2 and steps[0] == distance and steps[-1] + distance > 64
    assert not one.wants(steps[0] + 1) and one.wants(steps[-1] + distance)


def test_a_folder_that_becomes_read_only_costs_one_warning(writer, tmp_path, caplog):
    one = writer()
    one.write(1, lambda: table(1))
    wait_for(lambda: 1 in step_files(tmp_path / "records"))
    with read_only(tmp_path / "records"), caplog.at_level(logging.WARNING):
        for step in (2, 3):
            one.write(step, lambda step=step: table(step))
            wait_for(lambda: one._worker.is_idle)
        wait_for(lambda: caplog.records)
    [warning] = caplog.records
    assert "the records of step 2 are lost" in warning.getMessage() and "Training continues" in warning.getMessage()


def test_once_there_is_room_again_steps_are_written_again(writer, tmp_path):
    one = writer()
    with read_only(tmp_path / "records"):
        one.write(1, lambda: table(1))
        wait_for(lambda: one._warned)
    one.write(2, lambda: table(2))
    one.close()
    assert list(step_files(tmp_path / "records")) == [2]


def test_what_a_record_cannot_be_made_of_costs_one_warning(writer, caplog):
    def fail():
        raise TypeError("no such thing")

    one = writer()
    with caplog.at_level(logging.WARNING):
        one.write(1, fail)
        one.write(2, fail)
        one.close()
    [warning] = caplog.records
    assert "TypeError: no such thing" in warning.getMessage()


def test_a_disk_that_hangs_holds_nothing_up_and_fills_no_memory(writer, tmp_path, caplog):
    hang = threading.Event()
    one = writer()

    def slow(step):
        hang.wait(HANG_GUARD)
        return table(step)

    with caplog.at_level(logging.WARNING):
        for step in range(1, 20):
            one.write(step, lambda step=step: slow(step))  # which would wait for ever
    hang.set()
    one.close()
    assert 2 <= len(step_files(tmp_path / "records")) <= 3
    [warning] = caplog.records
    assert "the disk is too slow" in warning.getMessage()


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        RecordWriter(tmp_path / "file", 1, GIB)
    (tmp_path / "folder").mkdir()
    with read_only(tmp_path / "folder"), pytest.raises(OSError):
        RecordWriter(tmp_path / "folder", 1, GIB)


def test_files_of_other_names_are_passed_over(tmp_path):
    for name in ("step_000002.parquet", "step_1000000.parquet", "step_000003.parquet.part", "train.parquet"):
        (tmp_path / name).touch()
    assert step_files(tmp_path) == {
        2: tmp_path / "step_000002.parquet",
        1000000: Path(tmp_path / "step_1000000.parquet"),
    }


PAGE = ROOT / "docs" / "records.md"


def test_every_column_is_on_the_page():
    text = PAGE.read_text()
    named = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line)}
    assert {*SCHEMA.names, *(field.name for field in TURN), *(field.name for field in CALL)} <= named
    first = {name for line in text.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0][:60])}
    assert set(SCHEMA.names) <= first


def test_defaults_on_the_page_are_those_of_the_settings():
    text = PAGE.read_text()
    assert f"`rest.dump.trajectories` ({DumpConfig().trajectories})" in text
    assert f"`rest.dump.max_gib` ({DumpConfig().max_gib:g})" in text


def test_the_code_on_the_page_prints_a_mean_for_every_region(tmp_path):
    [code] = [block.text for block in blocks_of(PAGE) if block.language == "python"]
    (tmp_path / "records").mkdir()
    table = records_of(step_rows(1, groups=2)).table
    parquet.write_table(table, tmp_path / "records" / "step_000001.parquet")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=HANG_GUARD
    )
    assert done.returncode == 0, done.stderr
    shown = {line.split()[0] for line in done.stdout.splitlines()[2:]}
    generated = {
        region
        for row in table.to_pylist()
        for region, generated in zip(row["region"], row["generated"], strict=True)
        if generated
    }
    assert shown == generated
