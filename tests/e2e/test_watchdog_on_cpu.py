"""The watchdog and real Ray actors: one that was killed ends the run, one that is busy does not."""

import os
import signal
import time

import pytest
import ray

from rest_verl.watchdog import StalledRunError, Watchdog

SECONDS = 30.0


@ray.remote
class Worker:
    """Says who it is, or is busy."""

    def pid(self):
        return os.getpid()

    def work(self, seconds):
        time.sleep(seconds)


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_an_actor_that_was_killed_is_noticed_and_named(cluster):
    workers = [Worker.remote() for _ in range(2)]
    pids = ray.get([worker.pid.remote() for worker in workers])
    watchdog = Watchdog(lambda: {"reward worker": workers}, None)
    watchdog.look([], [], 2.0)
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(StalledRunError, match=r"^reward worker 1 of 2 has died, .* trainer.resume_mode=auto"):
        for _ in range(int(SECONDS / 0.2)):
            watchdog.look([], [], 2.0)
            time.sleep(0.2)


def test_an_actor_that_is_busy_is_not_taken_for_dead(cluster):
    worker = Worker.remote()
    ray.get(worker.pid.remote())
    working = worker.work.remote(3.0)
    watchdog = Watchdog(lambda: {"agent-loop worker": [worker]}, None)
    while not ray.wait([working], timeout=0.1)[0]:
        watchdog.look([], [], 2.0)
    watchdog.look([], [], 2.0)
