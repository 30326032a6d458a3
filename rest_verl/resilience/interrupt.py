"""Ends a wait of the main thread from beside it: for Ray, a lock or a socket, none of which verl gives a limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

LOOK_SECONDS = 2.0  # between two looks, as between two polls of verl's
AGAIN_SECONDS = 60.0  # until the next interruption, where the first one was caught on its way
SIGNAL = signal.SIGUSR2


class StalledRunError(RuntimeError):
    """What the trainer waits for will not come."""


@contextmanager
def interrupted(look: Callable[[], str | None]) -> Iterator[None]:
    """Run a block of the main thread for as long as what it waits for can come.

    Args:
        look: called every LOOK_SECONDS in a thread of its own; returns why it cannot, or None.

    Raises:
        StalledRunError: with what `look` returned.
        ValueError: not in the main thread.
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
    """The one exception that gets through a wait of Ray's: it discards any other that a handler raises."""
    raise KeyboardInterrupt
