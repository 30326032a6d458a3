"""A run that waits for what will not come ends with the reason; one that is only slow does not."""

import pytest
from verl.trainer.ppo.v1 import replay_buffer

from rest_verl.watchdog import StalledRunError, Watchdog, watch

PROMPT = {"is_prompt": True, "status": "running", "global_steps": 1}


def idle(stall_seconds):
    """A watchdog of a run without actors."""
    return Watchdog(dict, stall_seconds)


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
