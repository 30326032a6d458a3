"""The quickstart's own script, on a start that is already there: what it promises to leave behind."""

import json


def test_summary_holds_the_table(quickstart):
    summary = json.loads((quickstart.out / "summary.json").read_text())
    assert (summary["preset"], summary["seed"], summary["steps"]) == ("entropy_adaptive", 0, 2)
    assert 0 <= summary["acc_before"] <= 1 and 0 <= summary["acc_after"] <= 1
    assert summary["seconds_per_step"] > 0
    assert {"score", "format", "correctness"} <= set(summary["reward"])


def test_the_picture_is_a_png(quickstart):
    assert (quickstart.out / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_terminal_stays_calm_and_names_the_log(quickstart):
    assert "verl.log" in quickstart.printed
    assert len(quickstart.printed.splitlines()) < 60
    assert "WARNING" not in quickstart.printed


def test_a_quickstart_run_is_shown_again_without_training(quickstart):
    assert quickstart.again.returncode == 0
    assert "already holds this run" in quickstart.again.stdout
