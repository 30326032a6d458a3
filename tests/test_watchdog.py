"""A run that waits for what will not come ends with the reason; one that is only slow does not."""

from types import SimpleNamespace

import pytest

from rest_verl.watchdog import StalledRunError, Watchdog, watch

PROMPT = {"is_prompt": True, "status": "running", "global_steps": 1}


def idle(stall_seconds):
    """A watchdog of a run without actors."""
    return Watchdog(dict, stall_seconds)


def test_nothing_new_for_too_long_ends_the_run_and_says_how_many_prompts_are_unfinished():
    watchdog = idle(60.0)
    partition = {"a": PROMPT, "b": PROMPT | {"status": "finished"}, "b_0_0": {"status": "success"}}
    for _ in range(30):
        watchdog.look(dict(partition), 2.0)
    with pytest.raises(StalledRunError, match=r"no trajectory arrived in 60 s, 1 of 2 prompts are unfinished"):
        watchdog.look(dict(partition), 2.0)


def test_each_trajectory_that_arrives_starts_the_time_anew():
    watchdog = idle(10.0)
    for number in range(100):
        watchdog.look({"a": PROMPT, **{f"a_{place}_0": {} for place in range(number // 4)}}, 2.0)


def test_time_between_two_waits_is_not_waited():
    watchdog = idle(10.0)
    for step in range(10):  # four looks in each of ten steps, however long the updates between them take
        for _ in range(4):
            watchdog.look({f"prompt-of-step-{step}": PROMPT}, 2.0)


def test_without_a_limit_a_run_waits_for_ever():
    watchdog = idle(None)
    for _ in range(10_000):
        watchdog.look({"a": PROMPT}, 2.0)


def test_every_poll_of_the_replay_buffer_is_looked_at_and_still_waits():
    polls = []

    def wait(partition_id, last):
        polls.append(partition_id)
        return last + 1

    buffer = SimpleNamespace(_wait_for_next_poll=wait, partitions={"train": {"a": PROMPT}}, poll_interval=2.0)
    watched = watch(buffer, idle(3.0))
    assert watched._wait_for_next_poll("train", 1.0) == 2.0
    assert watched._wait_for_next_poll("train", 2.0) == 3.0
    with pytest.raises(StalledRunError):
        watched._wait_for_next_poll("train", 3.0)
    assert polls == ["train", "train"]
