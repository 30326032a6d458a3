import pytest
from evidence.curves import Run, mean_steps_to, paired_difference, target_accuracy
from evidence.loop import Validation


def run(variant, seed, *accuracies, every=10):
    return Run(variant, seed, [Validation(every * at, value, value / 2) for at, value in enumerate(accuracies)])


def test_the_mean_over_training_is_the_area_under_the_curve():
    assert run("grpo", 0, 0.0, 0.4, 0.4).mean == pytest.approx((0.2 + 0.4) / 2)
    uneven = Run("grpo", 0, [Validation(0, 0.0, 0.0), Validation(10, 1.0, 0.0), Validation(12, 1.0, 0.0)])
    assert uneven.mean == pytest.approx((10 * 0.5 + 2 * 1.0) / 12)


def test_steps_to_an_accuracy_lie_on_the_line_between_two_validations():
    found = run("grpo", 0, 0.1, 0.3, 0.2, 0.6)
    assert found.steps_to(0.1) == 0.0
    assert found.steps_to(0.2) == pytest.approx(5.0)
    assert found.steps_to(0.4) == pytest.approx(25.0)
    assert found.steps_to(0.7) is None


def test_a_run_that_ends_well_below_its_start_has_collapsed():
    assert run("grpo", 0, 0.3, 0.6, 0.2).collapsed
    assert not run("grpo", 0, 0.3, 0.6, 0.28).collapsed


def test_pairs_are_runs_of_one_seed_and_others_are_left_out():
    runs = [run("grpo", 0, 0, 0.5), run("grpo", 1, 0, 0.1), run("grpo", 2, 0, 0.9)]
    runs += [run("paper", 1, 0, 0.3), run("paper", 0, 0, 0.7), run("paper", 5, 0, 0.0)]
    difference = paired_difference(runs, "paper", "grpo", "final")
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.2, 0.2, 0.2))
    assert paired_difference(runs, "paper", "grpo", "final_unseen").mean == pytest.approx(0.1)


def test_the_target_lies_halfway_to_the_baselines_mean_end():
    runs = [run("grpo", 0, 0.2, 0.5), run("grpo", 1, 0.2, 0.7), run("paper", 0, 0.2, 1.0)]
    assert target_accuracy(runs, "grpo") == pytest.approx(0.4)
    assert mean_steps_to(runs, "grpo", 0.4) == (pytest.approx((10 * 2 / 3 + 4) / 2), 2)
    assert mean_steps_to(runs, "grpo", 0.6) == (pytest.approx(8.0), 1)
    assert mean_steps_to(runs, "grpo", 0.9) == (None, 0)
