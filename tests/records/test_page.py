"""docs/records.md: every column is on it, and its code runs on a record file."""

import re
import subprocess
import sys

from page_blocks import ROOT, blocks_of
from pyarrow import parquet
from record_tables import records_of, step_rows
from tiers import HANG_GUARD

from rest_verl.config.rest import DumpConfig
from rest_verl.records.schema import CALL, SCHEMA, TURN

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
