"""How a process begins: wrong settings end verl's own command before Ray starts, with one readable message; all names
are registered in a Ray worker, with nothing imported and no variable set by the user.

Without `--all` the worker of `rest-verl doctor` shows the latter (tests/commands/doctor/test_environments.py), and
that of vLLM in a run (test_resume_on_cpu.py).
"""

import json
import os
import subprocess
import sys

import pytest
from forked import forks_of
from own_names import NAMES
from tiers import HANG_GUARD

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


IN_AN_ACTOR = """
import json
import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)


@ray.remote
class Actor:
    def names(self):
        import verl
        from rest_verl.plugin.registries import REGISTRIES

        return NAMES


print(json.dumps(ray.get(Actor.remote().names.remote())))
""".replace("NAMES", NAMES)


@pytest.fixture
def bare_environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}


@pytest.mark.release
def test_a_ray_actor_finds_all_eight_names(bare_environment, all_names):
    done = subprocess.run(
        [sys.executable, "-c", IN_AN_ACTOR], env=bare_environment, capture_output=True, text=True, timeout=HANG_GUARD
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == all_names
