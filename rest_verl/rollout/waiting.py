"""Waiting for user code: in a thread of its own, and with a time limit."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from rest_verl.rollout.safe_text import text_of_error

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


class UserCodeError(RuntimeError):
    """User code raised what is no `Exception`: SystemExit, KeyboardInterrupt, or a BaseException of its own.

    In a task, the first two would end the event loop with all trajectories on it, and no handler of Exceptions, in
    verl either, would stop any of them.
    """


async def contained(work: Coroutine[Any, Any, T]) -> T:
    """Await user code, whose every error becomes an `Exception`.

    Raises:
        UserCodeError: in place of what is no Exception.
        asyncio.CancelledError: the wait was cancelled.
        Whatever else the work raises.
    """
    try:
        return await work
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise UserCodeError(f"{type(error).__name__}: {text_of_error(error)}") from error


async def wait_at_most(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await user code for at most `seconds`, then cancel it.

    Unlike `asyncio.wait_for`, this does not wait for work that ignores its cancellation: the work has `GRACE` seconds
    to clean up, then it is abandoned.

    Raises:
        TimeoutError: the work is not done in time.
        UserCodeError: the work raised what is no Exception, or cancelled itself.
        Whatever else the work raises.
    """
    task = asyncio.ensure_future(contained(work))
    in_time = False
    try:
        await asyncio.wait({task}, timeout=seconds)
        in_time = task.done()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
    if in_time and task.cancelled():
        raise UserCodeError("CancelledError: the work cancelled itself")
    if not in_time:
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
