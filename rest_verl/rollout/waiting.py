"""Waiting for what others wrote: in a thread of its own, and for so many seconds."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 1.0  # seconds that cancelled work has to clean up
IDLE = 10.0  # seconds after which a thread without work ends


Work = Callable[[], None]
_idle: list[SimpleQueue[Work]] = []  # where to put work for each thread that has none; pop and remove are atomic


async def call_in_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Run a blocking function without blocking other trajectories.

    Each call has a thread to itself, however many there are. In the event loop's own pool, where verl tokenises, a few
    functions that hang would stop every trajectory of the worker. A wait that is cancelled leaves its thread behind:
    Python has no way to stop it. The process ends without it.

    Args:
        function: called with the rest of the arguments, in the caller's context variables.

    Raises:
        What the function raises.
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

        # The loop may have ended while the function was still at work: then nobody waits for it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, outcome)

    try:
        box = _idle.pop()
    except IndexError:
        box = SimpleQueue()
        _thread.start_new_thread(_serve, (box,))  # `threading.Thread.start` would wait until it runs
    box.put(work)
    return (await finished)()


async def at_most(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await work for some seconds, then cancel it.

    Unlike `asyncio.wait_for` this never waits for work that ignores its cancellation: it has `GRACE` seconds to clean
    up, then it is left alone.

    Raises:
        TimeoutError: the time is over.
        What the work raises.
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
        del task  # an error it raises holds this frame, which held the task, which holds the error


def _serve(box: SimpleQueue[Work]) -> None:
    """What a thread does: the work that is put into its box, until none comes."""
    while True:
        try:
            work = box.get(timeout=IDLE)
        except Empty:
            with contextlib.suppress(ValueError):  # just taken: there will be work
                _idle.remove(box)
                return
            continue
        work()
        del work  # which holds its arguments and its result
        _idle.append(box)
