"""Interrupts a wait of the main thread from another thread: verl waits for Ray, locks and sockets without a limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

LOOK_SECONDS = 2.0  # between two looks, as between two of verl's polls
AGAIN_SECONDS = 60.0  # until the next interrupt, in case other code caught the first one
SIGNAL = signal.SIGUSR2


class StalledRunError(RuntimeError):
    """The trainer waits for something that will never arrive."""


@contextmanager
def interrupt_when_stalled(look: Callable[[], str | None]) -> Iterator[None]:
    """Run a block in the main thread, and interrupt it once it can no longer finish.

    Args:
        look: function called every LOOK_SECONDS in a separate thread; returns why the block cannot finish, or None.

    Raises:
        StalledRunError: `look` returned a reason.
        ValueError: the caller is not the main thread.
    """
    main, over, reasons = threading.get_ident(), threading.Event(), list[str]()

    def watch() -> None:
        seconds = LOOK_SECONDS
        while not over.wait(seconds):
            if not reasons and (reason := look()) is not None:
                reasons.append(reason)
            if reasons:
                signal.pthread_kill(main, SIGNAL)
                seconds = AGAIN_SECONDS

    before = signal.signal(SIGNAL, _raise)
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        try:
            yield
        finally:
            over.set()
            watching.join()
            signal.signal(SIGNAL, before)
    except (Exception, KeyboardInterrupt) as error:
        if reasons:
            raise StalledRunError(reasons[0]) from error
        raise


def _raise(number: int, frame: FrameType | None) -> None:
    """Signal handler. Ray's waits discard every exception that a handler raises, except KeyboardInterrupt."""
    raise KeyboardInterrupt
