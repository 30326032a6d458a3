"""The two tiers of the tests: what every change runs, and with `pytest --all` everything, for a release.

`@pytest.mark.release` marks a test of the second tier alone; its module says what protects the same behaviour in the
first. Numbers of examples and sizes of hostile text go by `in_full`. `@pytest.mark.soon` is for text that would take
forever in quadratic time; `UNHURRIED` lifts the limits of Ray, vLLM and verl on how long a process may take to start
or answer, for a busy machine.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import settings

FAST, RELEASE = "fast", "release"
FAST_EXAMPLES = 25
# Seconds after which a process that a test started is taken to hang. No test may pass or fail by how busy the machine
# is: this only keeps a hang from lasting for ever.
HANG_GUARD = 1800

Value = TypeVar("Value")


def register_tiers() -> None:
    """Make the tiers profiles of hypothesis."""
    settings.register_profile(FAST, deadline=None, max_examples=FAST_EXAMPLES)
    settings.register_profile(RELEASE, deadline=None)


def choose_tier(everything: bool) -> None:
    """Decide the tier, before any test is imported."""
    settings.load_profile(RELEASE if everything else FAST)


def in_full(fast: Value, release: Value) -> Value:
    """The value of the tier that is run."""
    return release if settings.get_current_profile_name() == RELEASE else fast


def examples(release: int) -> settings:
    """Decorator: so many examples with `--all`, and at most FAST_EXAMPLES without."""
    return settings(max_examples=in_full(min(FAST_EXAMPLES, release), release))


def size(release: int) -> int:
    """Length of a hostile text: in full with `--all`, a tenth without."""
    return in_full(release // 10, release)


@contextmanager
def soon() -> Iterator[None]:
    """Fail where a block takes much more than linear time does: in CPU seconds of this process, which a busy machine
    stretches by a factor and no more. Linear time is below 2 s in either tier; quadratic time is minutes."""
    limit = in_full(20.0, 60.0)

    def fail(*_: Any) -> None:
        raise AssertionError(f"more than {limit:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


UNHURRIED = {
    "RAY_raylet_start_wait_time_s": str(HANG_GUARD),
    "RAY_worker_register_timeout_seconds": str(HANG_GUARD),
    "RAY_agent_register_timeout_ms": str(1000 * HANG_GUARD),
    "RAY_gcs_server_request_timeout_seconds": str(HANG_GUARD),
    "RAY_health_check_timeout_ms": str(1000 * HANG_GUARD),
    "VLLM_ENGINE_READY_TIMEOUT_S": str(HANG_GUARD),
    "VLLM_ENGINE_ITERATION_TIMEOUT_S": str(HANG_GUARD),
}
VERL_UNHURRIED = [f"trainer.ray_wait_register_center_timeout={HANG_GUARD}"]  # overrides of verl's


def take_your_time() -> None:
    """Lift the limits for all processes that this one starts, before it imports Ray."""
    os.environ.update(UNHURRIED)
