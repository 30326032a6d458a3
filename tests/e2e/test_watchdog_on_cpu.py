"""The watchdog and real Ray actors: one that was killed ends the run, one that is busy does not."""

import os
import signal
import time

import pytest
import ray
from verl.trainer.ppo.v1 import replay_buffer

from rest_verl.watchdog import StalledRunError, Watchdog, watch

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


def kill(worker):
    """SIGKILL, and not one word to the watchdog."""
    os.kill(ray.get(worker.pid.remote()), signal.SIGKILL)


def test_an_actor_that_was_killed_is_noticed_and_named(cluster):
    workers = [Worker.remote() for _ in range(2)]
    watchdog = Watchdog(lambda: {"reward worker": workers}, None)
    watchdog.look([], [], 2.0)
    kill(workers[1])
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


@pytest.fixture
def failed_batch(monkeypatch):
    """verl's own buffer when verl's own queue lists one prompt, which has failed already at the first poll."""
    tag = {"is_prompt": True, "status": "failure", "global_steps": 1}
    monkeypatch.setattr(replay_buffer.tq, "kv_list", lambda: {"train": {"a": tag}, "val": {"a": tag}})
    monkeypatch.setattr(replay_buffer.tq, "kv_clear", lambda **_: None)
    return replay_buffer.ReplayBuffer("sync", {}, 1, "drop", {}, poll_interval=0.01)


@pytest.mark.parametrize("partition", ["train", "val"])
def test_a_batch_that_failed_as_a_whole_before_the_next_poll_names_the_actor_that_died(
    cluster, failed_batch, partition
):
    workers = [Worker.remote() for _ in range(2)]
    watch(failed_batch, Watchdog(lambda: {"reward worker": workers}, None))
    kill(workers[1])
    with pytest.raises(StalledRunError, match=r"^reward worker 1 of 2 has died"):
        failed_batch.sample(global_steps=1, partition_id=partition, batch_size=1)


def test_a_batch_that_failed_while_all_actors_live_is_verls_to_report(cluster, failed_batch):
    worker = Worker.remote()
    watch(failed_batch, Watchdog(lambda: {"reward worker": [worker]}, None))
    with pytest.raises(RuntimeError, match="no materializable trajectories") as raised:
        failed_batch.sample(global_steps=1, partition_id="train", batch_size=1)
    assert not isinstance(raised.value, StalledRunError)
