"""All names are registered in a Ray worker, with nothing imported and no variable set by the user.

Without `--all` the worker of `rest-verl doctor` shows that (tests/commands/doctor/test_environments.py), and that of
vLLM in a run (test_resume_on_cpu.py).
"""

import json
import os
import subprocess
import sys

import pytest
from own_names import NAMES
from tiers import HANG_GUARD

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


pytestmark = pytest.mark.release


@pytest.fixture
def bare_environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}


def test_a_ray_actor_finds_all_eight_names(bare_environment, all_names):
    done = subprocess.run(
        [sys.executable, "-c", IN_AN_ACTOR], env=bare_environment, capture_output=True, text=True, timeout=HANG_GUARD
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == all_names
