"""The quickstart's run on files of all makers: every data source has its own scorer, in training and validation."""

import pytest
from verl_run import read_metrics

from rest_verl.records.schema import read_step, step_files

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
