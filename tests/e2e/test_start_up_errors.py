"""Wrong settings end verl's own command before Ray starts, with one readable message."""

import pytest
from forked import forks_of

MAIN = "verl.trainer.main_ppo"
# what verl's own validation asks of every run
REQUIRED = [
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
]


@pytest.fixture(scope="module")
def main():
    """Processes in which verl's main is imported."""
    with forks_of(MAIN) as forks:
        yield forks


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+rest=paper", "rest.scheme=papr"], "rest.scheme: unknown scheme 'papr': did you mean 'paper'?"),
        (["+rest=paper", "+rest.schem=paper"], "rest: unknown key 'schem': did you mean 'scheme'?"),
        (["algorithm.adv_estimator=rest"], "set trainer.v1.trainer_mode=rest_sync"),
        (["+rest=papr"], "Could not find 'rest/papr'"),
    ],
    ids=["misspelt value", "misspelt key", "estimator without its trainer", "misspelt preset"],
)
def test_a_wrong_setting_ends_before_ray_starts(main, overrides, message, tmp_path):
    done = main.run(MAIN, [*overrides, *REQUIRED], tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "ray init kwargs" not in done.stdout
    assert "Ray instance" not in done.stderr
