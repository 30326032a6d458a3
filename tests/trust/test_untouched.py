"""verl's tests are compared one by one, and the two environments differ in this package alone."""

from importlib.metadata import distribution
from pathlib import Path

import pytest
from trust.outcomes import Process, Record, read_record
from untouched import QUICK_FILE, compare, files_of_verl, findings, verdict

KEY_ERROR, OS_ERROR, PASSED, SKIPPED = "failed (KeyError)", "failed (OSError)", "passed", "skipped"
LOADED, ABSENT = Process(True, True, True), Process(True, False, False)
REPORT = """\
<testsuites><testsuite>
<testcase classname="a" name="passed"/>
<testcase classname="a" name="skipped"><skipped message="no GPU"/></testcase>
<testcase classname="a" name="key"><failure message="KeyError: 'a: b'"/></testcase>
<testcase classname="a" name="far"><failure message="torch.cuda.OutOfMemoryError: no"/></testcase>
<testcase classname="a" name="says_nothing"><failure message="StopIteration"/></testcase>
<testcase classname="a" name="assert"><failure message="assert 1 == 2"/></testcase>
<testcase classname="a" name="setup"><error message="failed on setup with &quot;OSError: full&quot;"/></testcase>
<testcase classname="a" name="teardown"/>
<testcase classname="a" name="teardown"><error message="failed on teardown with &quot;OSError: full&quot;"/></testcase>
<testcase classname="" name="b"><error message="collection failure">E   KeyError: 1
E   ModuleNotFoundError: no x</error></testcase>
</testsuite></testsuites>
"""


def test_a_report_is_read_where_the_session_ended(tmp_path):
    (tmp_path / "a.xml").write_text(REPORT)
    assert read_record(tmp_path / "a.xml") == Record({}, None)
    (tmp_path / "a.json").write_text('{"verl": true, "plugin": false, "importable": false}')
    found = read_record(tmp_path / "a.xml")
    assert found.process == ABSENT
    assert list(found.outcomes.values()) == [
        *(PASSED, SKIPPED, KEY_ERROR, "failed (OutOfMemoryError)", "failed (StopIteration)"),
        *("failed (AssertionError)", OS_ERROR, OS_ERROR, "failed (ModuleNotFoundError)"),
    ]


def test_results_error_types_and_sets_of_tests_are_compared():
    one = {"a": PASSED, "b": KEY_ERROR, "c": KEY_ERROR, "d": SKIPPED}
    other = {"a": PASSED, "b": OS_ERROR, "c": PASSED, "e": PASSED}
    piece = verdict(Record(one, LOADED), Record(other, ABSENT))
    differing = {
        "b": [KEY_ERROR, OS_ERROR],
        "c": [KEY_ERROR, PASSED],
        "d": [SKIPPED, "absent"],
        "e": ["absent", PASSED],
    }
    assert piece["differing"] == differing
    found = findings({"tests/test_a.py": piece})
    assert found == {"files": 1, "tests": 5, "loaded": 1, "absent": 1, "differing": 4, "held": False}


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
    assert found == {"tests": 3, "differing": {}, "loaded": True, "absent": True, "proves_nothing": ""}


def test_no_file_waits_for_gpus_that_are_not_there():
    site, files = Path(str(distribution("verl").locate_file(""))), files_of_verl()
    assert QUICK_FILE in files
    assert not any("transfer_queue" in file or "test_serial_utils" in file for file in files)
    assert [file for file in files if "num_gpus=" in (site / file).read_text(encoding="utf-8")] == []
