"""Threads for functions that block, and waits with an end."""

import asyncio
import contextlib
import contextvars
import threading
import time

import pytest
from tiers import HANG_GUARD

from rest_verl.rollout import waiting
from rest_verl.rollout.waiting import call_in_thread, wait_at_most

NAME = contextvars.ContextVar("name")


def test_a_function_in_a_thread_gives_its_value_and_sees_its_callers_context():
    async def run():
        NAME.set("mine")
        return await call_in_thread(lambda a, b: (a + b, NAME.get(), threading.get_ident()), 1, b=2)

    total, name, thread = asyncio.run(run())
    assert (total, name) == (3, "mine") and thread != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), SystemExit(2)])
def test_what_a_function_in_a_thread_raises_reaches_its_caller(error):
    def fail():
        raise error

    async def run():
        try:
            await call_in_thread(fail)
        except BaseException as raised:
            return raised

    assert asyncio.run(run()) is error


def test_functions_that_block_do_not_wait_for_each_other():
    async def run():
        barrier = threading.Barrier(100)
        await asyncio.gather(*(call_in_thread(barrier.wait, HANG_GUARD) for _ in range(100)))

    asyncio.run(run())


def test_calls_one_after_the_other_share_a_thread():
    async def run():
        return {await call_in_thread(threading.get_ident) for _ in range(100)}

    assert len(asyncio.run(run())) <= 3


def test_a_thread_without_work_ends(monkeypatch):
    monkeypatch.setattr(waiting, "IDLE", 0.01)
    monkeypatch.setattr(waiting, "_idle", [])

    async def run():
        await asyncio.gather(*(call_in_thread(time.sleep, 0.05) for _ in range(5)))
        while waiting._idle:
            await asyncio.sleep(0.01)

    asyncio.run(run())
    assert not waiting._idle


def test_a_wait_that_is_cancelled_does_not_wait_for_its_thread():
    released = threading.Event()

    async def run():
        with pytest.raises(TimeoutError):
            await wait_at_most(0.05, call_in_thread(released.wait, HANG_GUARD))

    asyncio.run(run())
    assert not released.is_set()
    released.set()


def test_work_that_ignores_its_cancellation_is_left_alone():
    async def stubborn():
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(HANG_GUARD)

    async def run():
        with pytest.raises(TimeoutError, match=r"not done within 0\.01 s"):
            await wait_at_most(0.01, stubborn())

    asyncio.run(run())


def test_work_may_clean_up_when_its_time_is_over():
    cleaned = []

    async def work():
        try:
            await asyncio.sleep(HANG_GUARD)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    async def run():
        with pytest.raises(TimeoutError):
            await wait_at_most(0.01, work())
        return list(cleaned)

    assert asyncio.run(run()) == [True]


def test_work_in_time_gives_its_value_or_its_error():
    async def value():
        return 5

    async def fail():
        raise LookupError("gone")

    async def run():
        assert await wait_at_most(HANG_GUARD, value()) == 5
        with pytest.raises(LookupError, match="gone"):
            await wait_at_most(HANG_GUARD, fail())

    asyncio.run(run())
