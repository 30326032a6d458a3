"""Waiting for user code: in a thread of its own, and with a time limit."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 1.0  # seconds for cancelled work to clean up
IDLE = 10.0  # seconds until a thread without work ends


Work = Callable[[], None]
_idle: list[SimpleQueue[Work]] = []  # the work queue of each idle thread; pop and remove are atomic


async def call_in_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Run a blocking function without blocking other trajectories.

    Each call has its own thread, without a limit on their number. In the event loop's own pool, where verl tokenises,
    a few hanging functions would stop every trajectory of the worker. A cancelled wait leaves its thread running,
    since Python cannot stop threads; the process ends without waiting for it.

    Args:
        function: function to call with the remaining arguments, in a copy of the caller's context variables.

    Raises:
        Whatever the function raises.
    """
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[Callable[[], T]] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(outcome: Callable[[], T]) -> None:
        if not finished.done():
            finished.set_result(outcome)

    def work() -> None:
        try:
            value = context.run(function, *args, **kwargs)
        except BaseException as raised:
            error = raised

            def outcome() -> T:
                raise error
        else:

            def outcome() -> T:
                return value

        # The loop may have ended while the function was running: then nobody waits for it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, outcome)

    try:
        work_queue = _idle.pop()
    except IndexError:
        work_queue = SimpleQueue()
        _thread.start_new_thread(_serve, (work_queue,))  # `threading.Thread.start` would wait until it runs
    work_queue.put(work)
    return (await finished)()


async def wait_at_most(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await work for at most `seconds`, then cancel it.

    Unlike `asyncio.wait_for`, this does not wait for work that ignores its cancellation: the work has `GRACE` seconds
    to clean up, then it is abandoned.

    Raises:
        TimeoutError: the work is not done in time.
        Whatever the work raises.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
    if not task.done() or task.cancelled():
        raise TimeoutError(f"not done within {seconds:g} s")
    try:
        return task.result()
    finally:
        del task  # its error holds this frame, which holds the task, which holds the error: break the cycle


def _serve(work_queue: SimpleQueue[Work]) -> None:
    """Body of a thread: run the work from its queue until none comes for `IDLE` seconds."""
    while True:
        try:
            work = work_queue.get(timeout=IDLE)
        except Empty:
            with contextlib.suppress(ValueError):  # just popped: work is coming
                _idle.remove(work_queue)
                return
            continue
        work()
        del work  # it holds its arguments and its result
        _idle.append(work_queue)
