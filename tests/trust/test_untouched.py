"""verl's tests are compared one by one, and the two environments differ in this package alone."""

import json
from importlib.metadata import distribution
from pathlib import Path

import pytest
from trust.outcomes import Outcome, Process, Record, differences, read_record
from untouched import QUICK_FILE, compare, files_of_verl, findings, verdict

KEY_ERROR, OS_ERROR = Outcome("failed", "KeyError"), Outcome("failed", "OSError")
LOADED, ABSENT = Process(True, True, True), Process(True, False, False)
PASSED, SKIPPED = Outcome("passed"), Outcome("skipped")


@pytest.mark.parametrize(
    ("messages", "record"),
    [
        (  # of several phases the hardest result counts, here the teardown's
            [
                {"test": "a", "result": "unfinished"},
                {"test": "a", "result": "passed", "raised": ""},
                {"test": "a", "result": "failed", "raised": "OSError"},
                {"process": {"verl": True, "plugin": False, "importable": False}},
            ],
            Record({"a": OS_ERROR}, ABSENT),
        ),
        ([{"test": "a", "result": "unfinished"}], Record({"a": Outcome("unfinished")}, None)),
        ([], Record({}, None)),
    ],
    ids=["whole", "its process died", "nothing written"],
)
def test_outcomes_are_read_as_far_as_they_were_written(tmp_path, messages, record):
    path = tmp_path / "outcomes.jsonl"
    path.write_text("".join(json.dumps(message) + "\n" for message in messages))
    assert read_record(path) == record


@pytest.mark.parametrize(
    ("with_plugin", "without", "difference"),
    [
        ({"a": KEY_ERROR, "b": SKIPPED}, {"a": KEY_ERROR, "b": SKIPPED}, {}),
        ({"a": KEY_ERROR}, {"a": PASSED}, {"a": ("failed (KeyError)", "passed")}),
        ({"a": KEY_ERROR}, {"a": OS_ERROR}, {"a": ("failed (KeyError)", "failed (OSError)")}),
        ({}, {"a": PASSED}, {"a": ("absent", "passed")}),
        ({"a": PASSED}, {}, {"a": ("passed", "absent")}),
        ({"a": Outcome("unfinished")}, {"a": PASSED}, {"a": ("unfinished", "passed")}),
    ],
)
def test_results_error_types_and_sets_of_tests_are_compared(with_plugin, without, difference):
    assert differences(with_plugin, without) == difference


def test_a_row_counts_tests_results_and_differences():
    one, other = {"a": PASSED, "b": KEY_ERROR}, {"a": PASSED, "b": OS_ERROR, "c": SKIPPED}
    found = findings({"tests/test_a.py": verdict(Record(one, LOADED), Record(other, ABSENT))})
    row = ["`test_a.py`", "3 tests", "1 passed, 1 failed", "1 passed, 1 failed, 1 skipped", "2"]
    assert found["tables"]["files"]["rows"] == [row]
    assert (found["tests"], found["differing"], found["loaded"], found["absent"]) == (3, 2, 1, 1)
    assert found["raised"] == {"OSError": 1} and not found["held"]


@pytest.mark.parametrize(
    ("with_plugin", "without", "tests", "proves"),
    [
        (LOADED, ABSENT, 1, True),
        (Process(False, False, True), Process(False, False, False), 1, True),  # tests that do not import verl
        (ABSENT, ABSENT, 1, False),
        (Process(True, False, True), ABSENT, 1, False),
        (LOADED, LOADED, 1, False),
        (LOADED, Process(True, False, True), 1, False),
        (None, None, 1, False),  # the time was over
        (LOADED, ABSENT, 0, False),
    ],
)
def test_tests_an_end_and_the_plugin_in_its_place_are_needed(with_plugin, without, tests, proves):
    outcomes = {f"test_{number}": PASSED for number in range(tests)}
    found = verdict(Record(outcomes, with_plugin), Record(outcomes, without))
    assert (found["proves_nothing"] == "") is proves


def test_a_file_of_verls_has_the_same_outcomes_both_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # as where this test is run by one of several workers
    found = compare(QUICK_FILE, tmp_path, 600)
    assert (found["with"], found["without"], found["differing"]) == ("3 passed", "3 passed", {})
    assert found["loaded"] and found["absent"] and found["proves_nothing"] == ""


def test_no_file_waits_for_gpus_that_are_not_there():
    site, files = Path(str(distribution("verl").locate_file(""))), files_of_verl()
    assert QUICK_FILE in files
    assert not any("transfer_queue" in file or "test_serial_utils" in file for file in files)
    assert [file for file in files if "num_gpus=" in (site / file).read_text(encoding="utf-8")] == []
