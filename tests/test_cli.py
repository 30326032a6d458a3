"""The command `rest-verl`: what it writes, and one readable line where it cannot."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import rest_verl
from rest_verl.cli import app

ROOT = Path(__file__).parents[1]
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


def test_the_version_is_shown():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"rest-verl {rest_verl.__version__}\n")


def test_a_key_that_interrupts_an_import_ends_it_silently():
    """From the first import on: that of typer."""
    code = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from rest_verl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_option_means_the_same_in_every_command():
    """One spelling takes one kind of value, and lists of names are separated by commas."""
    command = typer.main.get_command(app)
    kinds = {}

    def walk(group, path):
        for name, one in group.commands.items():
            if isinstance(one, typer.core.TyperGroup):
                walk(one, (*path, name))
            for option in (one for one in one.params if one.param_type_name == "option"):
                for spelt in option.opts:
                    kinds.setdefault(spelt, set()).add((option.multiple, option.is_flag))

    walk(command, ())
    assert {"--category", "--module", "--at-step"}.isdisjoint(kinds)
    assert {name for name, found in kinds.items() if len(found) > 1 and name.startswith("--")} == set()


def test_a_missing_file_is_one_line_and_a_failure(tmp_path):
    done = CliRunner().invoke(app, ["data", "rlla", str(tmp_path / "absent.parquet"), "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "absent.parquet" in done.output and "Traceback" not in done.output


def test_an_unknown_category_names_the_allowed_ones(tmp_path):
    done = CliRunner().invoke(app, ["data", "bfcl", "--categories", "simple_pyton", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "simple_python" in done.output
