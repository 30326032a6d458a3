"""One target under atheris, which takes over the process.

    python -m trust.fuzz_process TARGET SECONDS [ARGUMENTS OF LIBFUZZER...]

rest_verl is instrumented, and the checks of what it returns: much of a parser is a regular expression, which has no
lines to be reached, but how many spans and calls come out of it shows there.

Time is CPU time. libFuzzer's own limits go by the clock on the wall, by which a busy machine fuzzes next to nothing in
an hour, and one that was asleep has a time-out.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import atheris

ENDLESS_SECONDS = 60.0  # of one input


def within(seconds: float, check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The check, which is interrupted where one input takes ENDLESS_SECONDS, and which asks libFuzzer to end once all
    together have taken so many seconds, and says how many; 0 is no limit."""
    begin = time.process_time()

    def checked(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, ENDLESS_SECONDS)
        try:
            check(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - begin
        if 0 < seconds <= spent:
            print(f"\nCPU seconds: {spent:.0f}", file=sys.stderr, flush=True)
            signal.raise_signal(signal.SIGUSR1)

    signal.signal(signal.SIGPROF, _interrupt)
    return checked


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input took {ENDLESS_SECONDS:.0f} s of the CPU and was not done")


if __name__ == "__main__":
    name, limit, *arguments = sys.argv[1:]
    not_checks = ["trust.fuzz_text", "trust.fuzz_targets"]
    with atheris.instrument_imports(include=["rest_verl", "trust"], exclude=not_checks):
        from trust.fuzz_targets import TARGETS
    # What libFuzzer's merge runs again, by a shell, is its own name and arguments.
    again = shlex.join([sys.executable, "-m", "trust.fuzz_process", name, limit])
    atheris.Setup([again, *arguments], within(float(limit), TARGETS[name].check))
    atheris.Fuzz()
