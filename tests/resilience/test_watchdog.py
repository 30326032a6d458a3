"""A run that waits for what will not come ends with the reason; one that is only slow does not. What is asked of the
processes that it needs: tests/e2e/test_watchdog_on_cpu.py asks real ones."""

import signal
import threading
import time
from concurrent.futures import Future

import pytest
import zmq
from verl.trainer.ppo.v1 import replay_buffer

from rest_verl.resilience import interrupt
from rest_verl.resilience.interrupt import StalledRunError, interrupt_when_stalled
from rest_verl.resilience.liveness import Liveness
from rest_verl.resilience.watchdog import FAILED_BATCHES, FAILING_SECONDS, Watchdog, watch


def test_where_nothing_has_to_be_alive_nothing_has_died():
    assert Liveness(list).look() is None


def test_vllms_engine_has_what_is_asked_of_it():
    """The question runs in vLLM's server during a run, where a name that vLLM has no more would end it."""
    from vllm.v1.engine.async_llm import AsyncLLM  # here: else each of pytest's processes would import vLLM

    assert isinstance(AsyncLLM.errored, property) and isinstance(AsyncLLM.dead_error, property)


PROMPT = {"is_prompt": True, "status": "running", "global_steps": 1}
BATCH = 8


def idle(stall_seconds):
    """A watchdog of a run without actors."""
    return Watchdog(Liveness(list), stall_seconds, BATCH)


def test_nothing_new_for_too_long_ends_the_run_and_says_how_many_prompts_are_unfinished():
    watchdog = idle(60.0)
    for _ in range(30):
        watchdog.look(["b_0_0"], {"a"}, 2.0)
    with pytest.raises(StalledRunError, match=r"no trajectory arrived in 60 s, unfinished prompts: 1"):
        watchdog.look(["b_0_0"], {"a"}, 2.0)


def test_each_trajectory_that_arrives_starts_the_time_anew():
    watchdog = idle(10.0)
    for number in range(100):
        watchdog.look([f"a_{place}_0" for place in range(number // 4)], {"a"}, 2.0)


def test_each_prompt_that_is_finished_or_begun_starts_the_time_anew():
    watchdog = idle(10.0)
    for number in range(100):
        watchdog.look([], {f"prompt{number // 4}"}, 2.0)


def test_time_between_two_waits_is_not_waited():
    watchdog = idle(10.0)
    for step in range(10):  # four looks in each of ten steps, however long the updates between them take
        for _ in range(4):
            watchdog.look([], {f"prompt-of-step-{step}"}, 2.0)


def test_without_a_limit_a_run_waits_for_ever():
    watchdog = idle(None)
    for _ in range(10_000):
        watchdog.look([], {"a"}, 2.0)


def test_every_poll_of_verls_replay_buffer_is_looked_at_and_still_waits(monkeypatch):
    """verl's own buffer, on what verl's own queue lists for a prompt that never ends."""
    monkeypatch.setattr(replay_buffer.tq, "kv_list", lambda: {"train": {"a": PROMPT, "b_0_0": {"status": "success"}}})
    buffer = replay_buffer.ReplayBuffer("sync", {}, 1, "drop", {}, poll_interval=0.01)
    watch(buffer, idle(0.035))
    with pytest.raises(StalledRunError, match="no trajectory arrived in 0 s, unfinished prompts: 1"):
        buffer.sample(1, "train", 1)


def failing(watchdog, prompts, seconds, finished=lambda number: ()):
    """So many prompts fail one after the other in so many seconds."""
    for number in range(prompts):
        watchdog.look_at_failures({str(number)}, finished(number), 1000.0 + seconds * number / (prompts - 1))


def test_prompts_that_fail_one_after_the_other_for_long_end_the_run_and_are_counted():
    with pytest.raises(
        StalledRunError, match=r"^32 prompts failed in a row within 600 s.*_run_prompt.*resume_mode=auto"
    ):
        failing(idle(None), FAILED_BATCHES * BATCH, FAILING_SECONDS)


def test_neither_many_failures_at_once_nor_a_few_over_a_long_time_end_a_run():
    failing(idle(None), 100 * BATCH, FAILING_SECONDS - 1)
    failing(idle(None), FAILED_BATCHES * BATCH - 1, 100 * FAILING_SECONDS)


def test_prompts_may_fail_no_longer_than_a_run_may_stall():
    with pytest.raises(StalledRunError, match="within 60 s"):
        failing(idle(60.0), FAILED_BATCHES * BATCH, 60.0)


def test_each_prompt_that_is_finished_starts_the_count_of_failures_anew():
    failing(idle(None), 100 * BATCH, 100 * FAILING_SECONDS, lambda number: {f"finished {number // BATCH}"})


def test_a_prompt_that_stays_finished_while_others_fail_does_not_start_the_count_anew():
    with pytest.raises(StalledRunError):
        failing(idle(None), 100 * BATCH, 100 * FAILING_SECONDS, lambda number: {"finished before"})


class FailingQueue:
    """verl's queue as its trainer and its agent loop fill it when no prompt ever comes to a trajectory."""

    def __init__(self, prompts):
        self.put = 0
        self.tags = {}
        self.fill(prompts)

    def fill(self, prompts):
        self.tags |= {str(self.put + place): PROMPT | {"status": "failure"} for place in range(prompts)}
        self.put += prompts

    def kv_list(self):
        return {"train": dict(self.tags)}

    def kv_clear(self, partition_id, keys):
        for key in keys:
            del self.tags[key]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda fill: replay_buffer.ReplayBufferAsync("colocate_async", {}, 8, "drop", {}, 0.01, fill),
            id="asynchronous",
        ),
        pytest.param(
            lambda fill: replay_buffer.ReplayBuffer(
                "sync", {}, 1, "drop", {}, 0.01, fill, gen_batch_size=1, sync_refill_failed_groups=True
            ),
            id="synchronous with sync_refill_failed_groups",
        ),
    ],
)
def test_a_replay_buffer_of_verls_that_replaces_what_fails_does_not_do_so_for_ever(make, monkeypatch):
    queue = FailingQueue(BATCH)
    monkeypatch.setattr(replay_buffer, "tq", queue)
    buffer = watch(make(queue.fill), idle(0.1))
    with pytest.raises(StalledRunError, match=r"prompts failed in a row"):
        buffer.sample(global_steps=1, partition_id="train", batch_size=BATCH)
    assert queue.put >= FAILED_BATCHES * BATCH


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(interrupt, "LOOK_SECONDS", 0.05)


def after(looks):
    """A look that has something to say from then on."""
    left = iter(range(looks))
    return lambda: (next(left, None) is None and "it will not come") or None


def wait_for_a_future():
    Future().result()


def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_a_socket():
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind("inproc://nobody")
        socket.recv()


@pytest.mark.parametrize("wait", [wait_for_a_future, wait_for_a_lock, wait_for_a_socket, lambda: time.sleep(1000)])
def test_a_wait_of_the_main_thread_ends_with_the_reason(wait):
    before = signal.getsignal(interrupt.SIGNAL)
    with pytest.raises(StalledRunError, match=r"^it will not come$"), interrupt_when_stalled(after(3)):
        wait()
    assert signal.getsignal(interrupt.SIGNAL) is before


def test_an_interruption_that_was_caught_on_its_way_comes_again(monkeypatch):
    monkeypatch.setattr(interrupt, "AGAIN_SECONDS", 0.1)
    with pytest.raises(StalledRunError), interrupt_when_stalled(after(0)):
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            time.sleep(1000)


def test_a_block_of_which_nothing_is_said_ends_as_it_does():
    with interrupt_when_stalled(lambda: None):
        time.sleep(0.2)
    with pytest.raises(ZeroDivisionError), interrupt_when_stalled(lambda: None):
        1 / 0  # noqa: B018
    with pytest.raises(KeyboardInterrupt), interrupt_when_stalled(lambda: None):
        raise KeyboardInterrupt  # by the user


def test_after_a_block_nobody_looks_any_more():
    looks = []
    with interrupt_when_stalled(lambda: looks.append(None)):
        time.sleep(0.2)
    seen = len(looks)
    time.sleep(0.2)
    assert len(looks) == seen > 0
