"""The quickstart's own script, on a start that is already there: what it promises to leave behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "cpu" / "quickstart.py"


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(start.folder, out / "start-seed0")
    (out / "start-seed0" / "finished.json").write_text("{}")
    command = [sys.executable, str(SCRIPT), "--steps", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return out, done.stdout, again


def test_summary_holds_the_table(finished):
    out, _, _ = finished
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["preset"], summary["seed"], summary["steps"]) == ("paper", 0, 2)
    assert 0 <= summary["acc_before"] <= 1 and 0 <= summary["acc_after"] <= 1
    assert summary["seconds_per_step"] > 0
    assert {"score", "format", "correctness"} <= set(summary["reward"])


def test_the_picture_is_a_png(finished):
    out, _, _ = finished
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_terminal_stays_calm_and_names_the_log(finished):
    _, text, _ = finished
    assert "verl.log" in text
    assert len(text.splitlines()) < 60
    assert "WARNING" not in text


def test_a_finished_run_is_shown_again_without_training(finished):
    _, _, again = finished
    assert again.returncode == 0
    assert "already holds this run" in again.stdout
