"""A wait that has no end is ended, whatever it is for; tests/e2e/test_watchdog_on_cpu.py has the waits for Ray."""

import signal
import threading
import time
from concurrent.futures import Future

import pytest
import zmq

from rest_verl.resilience import interrupt
from rest_verl.resilience.interrupt import StalledRunError, interrupt_when_stalled


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(interrupt, "LOOK_SECONDS", 0.05)


def after(looks):
    """A look that has something to say from then on."""
    left = iter(range(looks))
    return lambda: (next(left, None) is None and "it will not come") or None


def wait_for_a_future():
    Future().result()


def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_a_socket():
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind("inproc://nobody")
        socket.recv()


@pytest.mark.parametrize("wait", [wait_for_a_future, wait_for_a_lock, wait_for_a_socket, lambda: time.sleep(1000)])
def test_a_wait_of_the_main_thread_ends_with_the_reason(wait):
    before = signal.getsignal(interrupt.SIGNAL)
    with pytest.raises(StalledRunError, match=r"^it will not come$"), interrupt_when_stalled(after(3)):
        wait()
    assert signal.getsignal(interrupt.SIGNAL) is before


def test_an_interruption_that_was_caught_on_its_way_comes_again(monkeypatch):
    monkeypatch.setattr(interrupt, "AGAIN_SECONDS", 0.1)
    with pytest.raises(StalledRunError), interrupt_when_stalled(after(0)):
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            time.sleep(1000)


def test_a_block_of_which_nothing_is_said_ends_as_it_does():
    with interrupt_when_stalled(lambda: None):
        time.sleep(0.2)
    with pytest.raises(ZeroDivisionError), interrupt_when_stalled(lambda: None):
        1 / 0  # noqa: B018
    with pytest.raises(KeyboardInterrupt), interrupt_when_stalled(lambda: None):
        raise KeyboardInterrupt  # by the user


def test_after_a_block_nobody_looks_any_more():
    looks = []
    with interrupt_when_stalled(lambda: looks.append(None)):
        time.sleep(0.2)
    seen = len(looks)
    time.sleep(0.2)
    assert len(looks) == seen > 0
