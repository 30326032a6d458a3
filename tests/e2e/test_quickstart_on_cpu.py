"""The quickstart's own script, on a start that is already there: what it promises to leave behind; and its run on
files of all makers, in which every data source has its own scorer, in training and validation."""

import json

import pytest
from verl_run import read_metrics

from rest_verl.records.schema import read_step, step_files


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


SOURCES = ["toy_tools", "rlla", "apibank_level2", "bfcl_simple_python", "bfcl_irrelevance"]


@pytest.fixture(scope="module")
def run(quickstart, maker_rows):
    """Its steps, whose rules are `strict`."""
    if maker_rows.missing:
        pytest.skip(maker_rows.missing)
    return read_metrics(quickstart.out / "verl" / "metrics.jsonl")


@pytest.mark.parametrize("source", SOURCES)
def test_each_data_source_has_an_accuracy_of_its_own(run, source):
    for step in run:
        assert 0 <= step.metrics[f"val-core/{source}/acc/mean@1"] <= 1
        assert step.metrics[f"val-aux/{source}/skipped/mean@1"] == 0
        assert step.metrics[f"val-aux/{source}/response_tokens/mean@1"] > 0


def test_a_scorers_own_component_is_reported_for_its_source_alone(run):
    found = [key for key in run[-1].metrics if "/acc_hard/" in key]
    assert found and all(key.startswith("val-aux/apibank_level2/") for key in found)


def test_rows_of_makers_are_trained_on_with_the_tasks_own(run, quickstart):
    for step in run[1:]:
        assert step.metrics["rest/reward/skipped"] == 0
        assert -4 <= step.metrics["rest/reward/score"] <= 4
    records = [read_step(path).table for path in step_files(quickstart.out / "records").values()]
    trained = {source for table in records for source in table["data_source"].to_pylist()}
    assert trained == {"toy_tools", "rlla", "bfcl_simple_python"}
