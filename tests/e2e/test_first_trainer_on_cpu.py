"""verl's first trainer with ResT, for real: weights, records, and a checkpoint that a second run continues from."""

import json

import pytest

from rest_verl.records.schema import read_step, step_name
from rest_verl.weighting.saved_state import STATE_FILE

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def runs(start, train, tmp_path_factory):
    """Two steps, and a third by the same command: (steps of the first, steps of the second, folder)."""
    folder = tmp_path_factory.mktemp("first_trainer")
    overrides = [
        "+rest=entropy_adaptive",
        "rest.credit=span",
        "rest.apply_in=advantage",
        "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla",
        f"rest.dump_dir={folder / 'records'}",
        "trainer.use_v1=False",
        *start.overrides,
        "trainer.val_before_train=False",
        "trainer.test_freq=3",
        "trainer.save_freq=1",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
    ]
    return train(overrides, folder, 2), train(overrides, folder, 3), folder


def test_the_second_run_continues(runs):
    first, second, _ = runs
    assert [step.step for step in first] == [1, 2] and [step.step for step in second] == [3]
    assert all(step.metrics["actor/grad_norm"] > 0 for step in [*first, *second])


def test_a_validation_scores_by_the_step(runs):
    assert any(name.startswith("val-core/") for name in runs[1][-1].metrics)


def test_metrics_are_logged_as_on_the_v1_trainer(runs):
    for step in [*runs[0], *runs[1]]:
        assert {
            "rest/weight/name",
            "rest/entropy/args",
            "rest/credit/events",
            "rest/reward/acc",
        } <= step.metrics.keys()
        assert step.metrics["rest/not_finite/advantage"] == 0 and step.metrics["timing_s/rest"] > 0


def test_checkpoints_hold_what_was_measured(runs):
    states = [
        json.loads((runs[2] / "checkpoints" / f"global_step_{step}" / STATE_FILE).read_text()) for step in (1, 2, 3)
    ]
    assert len({json.dumps(state, sort_keys=True) for state in states}) == 3
    assert len({state["structure_first"] for state in states}) == 1


def test_records_have_a_row_for_each_trajectory(runs):
    for step in (1, 2, 3):
        table = read_step(runs[2] / "records" / step_name(step)).table
        assert table.num_rows == 32
        lengths = {len(row) for row in table["weight"].to_pylist()}
        assert lengths == {len(row) for row in table["advantage"].to_pylist()} and max(lengths) > 1
