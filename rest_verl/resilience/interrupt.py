"""Interrupts a wait of the main thread from another thread: verl waits for Ray, locks and sockets without a limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rest_verl.common.logs import Survived, logger_of

LOOK_SECONDS = 2.0  # between two looks, as between two of verl's polls
AGAIN_SECONDS = 60.0  # until the next interrupt, in case other code caught the first one
SIGNAL = signal.SIGUSR2

logger = logger_of(__name__)


class StalledRunError(RuntimeError):
    """The trainer waits for something that will never arrive."""


@contextmanager
def interrupt_when_stalled(look: Callable[[], str | None]) -> Iterator[None]:
    """Run a block in the main thread, and interrupt it once it can no longer finish.

    Args:
        look: function called every LOOK_SECONDS in a separate thread; returns why the block cannot finish, or None.
            What it raises is logged, and the next look is tried.

    Raises:
        StalledRunError: `look` returned a reason.
        ValueError: the caller is not the main thread.
    """
    main, over, reasons, survived = threading.get_ident(), threading.Event(), list[str](), Survived(logger)

    def watch() -> None:
        seconds = LOOK_SECONDS
        while not over.wait(seconds):
            if not reasons:
                with survived("the look for dead workers"):
                    reasons.extend([reason] if (reason := look()) is not None else [])
            if reasons:
                signal.pthread_kill(main, SIGNAL)
                seconds = AGAIN_SECONDS

    def handle(number: int, frame: FrameType | None) -> None:
        if reasons:
            # Ray's waits discard every exception that a handler raises, except this one.
            raise KeyboardInterrupt
        if callable(before):
            before(number, frame)
        else:
            logger.warning("%s came from elsewhere and is ignored: the run goes on", SIGNAL.name)

    before = signal.getsignal(SIGNAL)
    signal.signal(SIGNAL, handle)
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        try:
            yield
        finally:
            over.set()
            watching.join()
            # None: a handler that is not Python's, which Python cannot put back
            signal.signal(SIGNAL, signal.SIG_DFL if before is None else before)
    except (Exception, KeyboardInterrupt) as error:
        if reasons:
            raise StalledRunError(reasons[0]) from error
        raise
