"""verl's tests are compared one by one, and the two environments differ in this package alone."""

import json
from importlib.metadata import distribution
from pathlib import Path

import pytest
from trust.outcomes import Outcome, Process, Record, counted, differences, read_record
from trust.verls_tests import Pair, environments, files_of_verl, not_as_said, notes_on, run_file

SMALL = "tests/test_base_config_on_cpu.py"
KEY_ERROR, OS_ERROR = Outcome("failed", "KeyError"), Outcome("failed", "OSError")
LOADED, ABSENT = Process(True, True, True), Process(True, False, False)
PASSED, SKIPPED = Outcome("passed"), Outcome("skipped")


def pair(one, other, with_plugin=LOADED, without=ABSENT):
    return Pair("tests/test_a.py", Record(one, with_plugin), Record(other, without))


def written(path, *messages):
    path.write_text("".join(json.dumps(message) + "\n" for message in messages))
    return read_record(path)


def test_the_hardest_phase_of_a_test_is_its_outcome(tmp_path):
    record = written(
        tmp_path / "outcomes.jsonl",
        {"test": "a", "result": "unfinished"},
        {"test": "a", "result": "passed", "raised": ""},
        {"test": "a", "result": "failed", "raised": "OSError"},  # as it was torn down
        {"process": {"verl": True, "plugin": False, "importable": False}},
    )
    assert record == Record({"a": OS_ERROR}, Process(True, False, False))


def test_a_test_in_whose_process_everything_ended_is_unfinished(tmp_path):
    record = written(tmp_path / "outcomes.jsonl", {"test": "a", "result": "unfinished"})
    assert record == Record({"a": Outcome("unfinished")}, None)


def test_a_process_that_wrote_nothing_has_no_outcome(tmp_path):
    assert read_record(tmp_path / "outcomes.jsonl") == Record({}, None)


def test_equal_outcomes_do_not_differ():
    same = {"a": PASSED, "b": Outcome("failed", "ValueError"), "c": SKIPPED}
    assert differences(same, dict(same)) == {}


@pytest.mark.parametrize(
    ("with_plugin", "without", "difference"),
    [
        ({"a": KEY_ERROR}, {"a": PASSED}, ("failed (KeyError)", "passed")),
        ({"a": KEY_ERROR}, {"a": OS_ERROR}, ("failed (KeyError)", "failed (OSError)")),
        ({"a": SKIPPED}, {"a": PASSED}, ("skipped", "passed")),
        ({}, {"a": PASSED}, ("absent", "passed")),
        ({"a": PASSED}, {}, ("passed", "absent")),
        ({"a": Outcome("unfinished")}, {"a": PASSED}, ("unfinished", "passed")),
    ],
    ids=["result", "kind of error", "skipped", "only without", "only with", "unfinished"],
)
def test_another_result_or_kind_of_error_or_set_of_tests_differs(with_plugin, without, difference):
    assert differences(with_plugin, without) == {"a": difference}


def test_a_row_counts_tests_results_and_differences():
    found = pair({"a": PASSED, "b": KEY_ERROR}, {"a": PASSED, "b": PASSED, "c": SKIPPED})
    assert found.row == ["`test_a.py`", "3 tests", "1 passed, 1 failed", "2 passed, 1 skipped", "2"]
    assert "`b`: failed (KeyError) with the plugin, passed without it." in notes_on([found])
    assert counted({}) == "none"


def test_failures_that_verl_has_by_itself_are_named_by_kind():
    failed = {"a": OS_ERROR, "b": OS_ERROR}
    assert "verl's own tests that fail here without the plugin: 2 OSError." in notes_on([pair(failed, failed)])


@pytest.mark.parametrize(
    ("with_plugin", "without", "tests", "wrong"),
    [
        (LOADED, ABSENT, 1, 0),
        (Process(False, False, True), Process(False, False, False), 1, 0),  # tests that do not import verl
        (ABSENT, ABSENT, 1, 1),
        (Process(True, False, True), ABSENT, 1, 1),
        (LOADED, LOADED, 1, 1),
        (LOADED, Process(True, False, True), 1, 1),
        (None, None, 1, 1),  # the time was over
        (LOADED, ABSENT, 0, 1),
    ],
)
def test_a_file_proves_nothing_without_tests_an_end_and_the_plugin_in_its_place(with_plugin, without, tests, wrong):
    outcomes = {f"test_{number}": PASSED for number in range(tests)}
    assert len(not_as_said([pair(outcomes, outcomes, with_plugin, without)])) == wrong


def test_a_file_of_verls_has_the_same_outcomes_with_the_plugin_as_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # as where this test is run by one of several workers
    assert SMALL in files_of_verl()
    assert not any("transfer_queue" in file or "test_serial_utils" in file for file in files_of_verl())
    found = Pair(SMALL, *(run_file(python, SMALL, 120) for python in environments(tmp_path)))
    assert (found.with_plugin.process, found.without.process) == (LOADED, ABSENT)
    assert set(found.with_plugin.outcomes.values()) == {PASSED} and found.differing == {}


def test_no_file_waits_for_gpus_that_are_not_there():
    site = Path(str(distribution("verl").locate_file("")))
    assert [file for file in files_of_verl() if "num_gpus=" in (site / file).read_text(encoding="utf-8")] == []
