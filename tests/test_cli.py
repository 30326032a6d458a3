"""The command `rest-verl`: what it writes, and one readable line where it cannot."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from rest_verl.cli import app

CALL = '<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'


@pytest.fixture
def toolrl(tmp_path):
    rows = [
        {
            "data_source": "rlla",
            "prompt": [{"role": "system", "content": "tools"}, {"role": "user", "content": f"question {index}"}],
            "ability": "tool_use",
            "reward_model": {"style": "rule", "ground_truth": CALL},
            "extra_info": {"index": index, "split": "test"},
        }
        for index in range(40)
    ]
    path = tmp_path / "toolrl.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_rlla_is_split_into_two_files_that_hold_every_row(toolrl, tmp_path):
    done = CliRunner().invoke(app, ["data", "rlla", str(toolrl), "--out", str(tmp_path), "--validation-share", "0.25"])
    assert done.exit_code == 0, done.output
    sides = [len(pd.read_parquet(tmp_path / f"{name}.parquet")) for name in ("train", "validation")]
    assert sum(sides) == 40 and min(sides) > 0
    assert "rlla" in done.output and str(sides[0]) in done.output


def test_a_missing_file_is_one_line_and_a_failure(tmp_path):
    done = CliRunner().invoke(app, ["data", "rlla", str(tmp_path / "absent.parquet"), "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "absent.parquet" in done.output and "Traceback" not in done.output


def test_an_unknown_category_names_the_allowed_ones(tmp_path):
    done = CliRunner().invoke(app, ["data", "bfcl", "--category", "simple_pyton", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "simple_python" in done.output
