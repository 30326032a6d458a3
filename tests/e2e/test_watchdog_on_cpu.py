"""The watchdog and real Ray actors: one that was killed ends the run and is named, one that is busy does not."""

import os
import signal
import time
from types import SimpleNamespace

import pytest
import ray
from tiers import HANG_GUARD
from verl.checkpoint_engine import CheckpointEngineManager
from verl.trainer.ppo.v1 import replay_buffer
from verl.workers.config import CheckpointEngineConfig

from rest_verl.resilience.interrupt import StalledRunError, interrupt_when_stalled
from rest_verl.resilience.liveness import Liveness, Role, ask_vllm_engine
from rest_verl.resilience.watchdog import Guard, Watchdog, explain_failures, watch

FOREVER = 10_000.0


@ray.remote
class Worker:
    """Says who it is, or is busy."""

    def pid(self):
        return os.getpid()

    def work(self, seconds):
        time.sleep(seconds)


@ray.remote
class Server:
    """Like verl's, as far as its engine goes: that is a process of its own, and the server outlives it."""

    def __init__(self):
        self.engine = SimpleNamespace(errored=False, dead_error=RuntimeError("EngineCore encountered an issue."))

    async def lose_engine(self):
        self.engine.errored = True


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def kill(worker):
    """SIGKILL, and not one word to the watchdog."""
    os.kill(ray.get(worker.pid.remote()), signal.SIGKILL)


def alive(*handles, name="reward worker", **question):
    return Liveness(lambda: [Role(name, handles, **question)])


def test_an_actor_that_was_killed_is_noticed_at_a_poll_and_named(cluster):
    workers = [Worker.remote() for _ in range(2)]
    watchdog = Watchdog(alive(*workers), None, 1)
    watchdog.look([], [], 2.0)
    kill(workers[1])
    with pytest.raises(StalledRunError, match=r"^reward worker 1 of 2 died; .*resume_mode=auto.* Ray says: "):
        while True:
            watchdog.look([], [], 2.0)
            time.sleep(0.2)


def test_an_actor_that_is_busy_is_not_taken_for_dead(cluster):
    worker = Worker.remote()
    ray.get(worker.pid.remote())
    working = worker.work.remote(3.0)
    watchdog = Watchdog(alive(worker), None, 1)
    while not ray.wait([working], timeout=0.1)[0]:
        watchdog.look([], [], 2.0)
    watchdog.look([], [], 2.0)


def test_a_server_whose_engine_has_died_is_named_though_its_actor_lives(cluster):
    server = Server.remote()
    liveness = alive(server, name="inference server", question=ask_vllm_engine)
    assert liveness.wait(1.0) is None
    ray.get(server.lose_engine.remote())
    assert liveness.wait().endswith("vLLM says: EngineCore encountered an issue.")


@pytest.fixture
def failed_batch(monkeypatch):
    """verl's own buffer when verl's own queue lists one prompt, which has failed already at the first poll."""
    tag = {"is_prompt": True, "status": "failure", "global_steps": 1}
    monkeypatch.setattr(replay_buffer.tq, "kv_list", lambda: {"train": {"a": tag}})
    return replay_buffer.ReplayBuffer("sync", {}, 1, "drop", {}, poll_interval=0.01)


def test_a_batch_that_failed_as_a_whole_before_the_next_poll_names_the_actor_that_died(cluster, failed_batch):
    workers = [Worker.remote() for _ in range(2)]
    watch(failed_batch, Watchdog(alive(*workers), None, 1))
    kill(workers[1])
    with pytest.raises(StalledRunError, match=r"^reward worker 1 of 2 died"), explain_failures(alive(*workers)):
        failed_batch.sample(global_steps=1, partition_id="train", batch_size=1)


def test_a_batch_that_failed_while_all_actors_live_is_verls_to_report(cluster, failed_batch):
    worker = Worker.remote()
    watch(failed_batch, Watchdog(alive(worker), None, 1))
    with (
        pytest.raises(RuntimeError, match="no materializable trajectories") as raised,
        explain_failures(alive(worker)),
    ):
        failed_batch.sample(global_steps=1, partition_id="train", batch_size=1)
    assert not isinstance(raised.value, StalledRunError)


def test_what_the_watchdog_says_itself_is_not_explained_again(cluster):
    worker = Worker.remote()
    kill(worker)
    with pytest.raises(StalledRunError, match=r"^no trajectory arrived$"), explain_failures(alive(worker)):
        raise StalledRunError("no trajectory arrived")


def transfer(seconds, servers, stall_seconds=None):
    """verl's own manager hands weights over, which takes so long."""
    group = SimpleNamespace(update_weights=lambda **_: [Worker.remote().work.remote(seconds)])
    manager = CheckpointEngineManager(CheckpointEngineConfig(backend="naive"), group, [])
    watching = Guard(alive(), servers, stall_seconds)
    watching.watch_transfers(manager)
    with interrupt_when_stalled(watching.look):
        manager.update_weights(1)


def server_without_engine():
    server = Server.remote()
    ray.get(server.lose_engine.remote())
    return alive(server, name="inference server", question=ask_vllm_engine)


def test_a_transfer_of_weights_to_a_server_that_died_ends(cluster):
    """verl's training workers wait in ZeroMQ for an engine's answer, for ever."""
    with pytest.raises(StalledRunError, match=r"^inference server 0 of 1 died"):
        transfer(FOREVER, server_without_engine())


def test_a_transfer_of_weights_that_no_living_server_takes_ends_in_time(cluster):
    with pytest.raises(StalledRunError, match=r"^weights have not reached the inference servers in \d s, .*stall_sec"):
        transfer(FOREVER, alive(Server.remote()), stall_seconds=3.0)


def test_a_transfer_of_weights_that_only_takes_its_time_comes_to_its_end(cluster):
    transfer(5.0, alive(Server.remote(), question=ask_vllm_engine), stall_seconds=HANG_GUARD)


def test_an_error_of_a_transfer_with_all_servers_alive_is_raised_as_it_is(cluster):
    with pytest.raises(TypeError):
        transfer("no number", alive(Server.remote(), question=ask_vllm_engine))


def test_without_a_transfer_only_the_queue_can_end_a_wait(cluster):
    assert Guard(alive(), server_without_engine(), 1.0).look() is None
    controller = Worker.remote()
    watching = Guard(alive(controller, name="controller"), alive(), None)
    with pytest.raises(StalledRunError, match=r"^controller 0 of 1 died"), interrupt_when_stalled(watching.look):
        kill(controller)
        time.sleep(FOREVER)


@ray.remote
class Trainer:
    """verl's trainer is an actor too, and waits in its main thread."""

    def wait(self, server):
        servers = Liveness(lambda: [Role("inference server", [server], ask_vllm_engine)])
        with interrupt_when_stalled(servers.look):
            ray.get(Worker.remote().work.remote(FOREVER))


def test_a_wait_inside_of_an_actor_ends_too(cluster):
    server = Server.remote()
    ray.get(server.lose_engine.remote())
    with pytest.raises(StalledRunError, match="inference server 0 of 1 died"):
        ray.get(Trainer.remote().wait.remote(server), timeout=HANG_GUARD)
