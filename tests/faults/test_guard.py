"""The guard around a run survives its own errors, and user code that misbehaves costs its own trajectory alone."""

import logging
import os
import signal
import time
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import ActorDiedError, RayTaskError

from rest_verl.config.rollout import RolloutConfig
from rest_verl.resilience import interrupt, liveness
from rest_verl.resilience.interrupt import StalledRunError, interrupt_when_stalled
from rest_verl.resilience.liveness import Liveness, Role, ask_actor
from rest_verl.resilience.watchdog import Watchdog, watch


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(interrupt, "LOOK_SECONDS", 0.02)


# The look


def test_an_error_in_a_look_does_not_end_the_watching(caplog):
    """Its thread ended with the error, and the run went on unwatched."""
    looks = iter([RuntimeError("a look failed"), RuntimeError("a look failed"), None, "it will not come"])

    def look():
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(StalledRunError, match=r"^it will not come$"), interrupt_when_stalled(look):
        time.sleep(1000)
    assert caplog.text.count("RuntimeError: a look failed. The run goes on") == 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_from_elsewhere_does_not_end_the_run(caplog, times):
    try:
        with interrupt_when_stalled(lambda: None):
            for _ in range(times):
                os.kill(os.getpid(), interrupt.SIGNAL)
                time.sleep(0.05)
    except KeyboardInterrupt:
        pytest.fail("the run ended")
    assert caplog.text.count("SIGUSR2 came from elsewhere and is ignored") == times


def test_a_signal_from_elsewhere_reaches_who_asked_for_it():
    seen = []
    before = signal.signal(interrupt.SIGNAL, lambda number, frame: seen.append(number))
    try:
        with interrupt_when_stalled(lambda: None):
            os.kill(os.getpid(), interrupt.SIGNAL)
            time.sleep(0.05)
    finally:
        signal.signal(interrupt.SIGNAL, before)
    assert seen == [interrupt.SIGNAL]


def test_a_stalled_run_still_ends_after_a_stray_signal():
    looks = iter([None, None, None])
    with pytest.raises(StalledRunError), interrupt_when_stalled(lambda: next(looks, "it will not come")):
        os.kill(os.getpid(), interrupt.SIGNAL)
        time.sleep(1000)


# Questions to actors


class Actor:
    """An actor's handle whose answers are given: a value, or an exception that Ray raises."""

    def __init__(self, answer=None):
        self.answer, self.asked = answer, 0
        self.__ray_call__ = SimpleNamespace(remote=self._ask)

    def _ask(self, question):
        self.asked += 1
        if isinstance(self.answer, OSError):
            raise self.answer
        return (self, self.asked)


@pytest.fixture(autouse=True)
def answers(monkeypatch):
    """Ray, whose actors answer at once."""

    def get(reference):
        if isinstance(reference[0].answer, Exception):
            raise reference[0].answer
        return reference[0].answer

    monkeypatch.setattr(liveness, "ray", SimpleNamespace(wait=lambda refs, **_: (list(refs), []), get=get))


def task_error(cause):
    return RayTaskError("ask", "traceback", cause).as_instanceof_cause()


DEAD = ActorDiedError()


@pytest.mark.parametrize("cause", [AttributeError("errored"), ValueError("x"), RuntimeError("y"), DEAD])
def test_a_question_that_fails_does_not_end_the_run(cause, caplog):
    """The actor answered, so it is alive; also where what it raised is the death of another actor."""
    broken, fine = Actor(task_error(cause)), Actor()
    look = Liveness(lambda: [Role("server", [broken]), Role("worker", [fine])])
    for _ in range(3):
        assert look.look() is None
    assert broken.asked == fine.asked == 3
    assert caplog.text.count("The run goes on; this warning appears once") == 1


def test_after_a_question_that_fails_a_death_is_still_found():
    look = Liveness(lambda: [Role("server", [Actor(task_error(ValueError("x")))]), Role("worker", [Actor(DEAD)])])
    assert look.look().startswith("worker 0 of 1 died")


@pytest.mark.parametrize("answer", [None, DEAD, "vLLM says: out of memory"])
@pytest.mark.parametrize("question", [ask_actor, lambda server: None])
def test_one_handle_may_have_two_roles(answer, question):
    actor = Actor(answer)
    found = Liveness(lambda: [Role("worker", [actor]), Role("server", [actor], question)]).look()
    assert found is None if answer is None else found.startswith("worker 0 of 1 died")


def test_roles_or_handles_that_fail_do_not_end_the_run(caplog):
    def no_roles():
        raise KeyError("servers")

    assert Liveness(no_roles).look() is None
    assert Liveness(lambda: [Role("server", [Actor(OSError("gone"))]), Role("worker", [Actor()])]).look() is None
    dead = Liveness(lambda: [Role("server", [Actor(OSError("gone"))]), Role("worker", [Actor(DEAD)])])
    assert dead.look().startswith("worker 0 of 1 died")
    assert "KeyError: 'servers'" in caplog.text and "OSError: gone" in caplog.text


# Samplers


class Plain:
    """A sampler of the user's own."""

    poll_interval = 0.0

    def sample(self, **_):
        return "batch"


class Otherwise(Plain):
    """One that has the names of verl's buffer with other parameters."""

    partitions = pending_keys = running_keys = finished_keys = {}

    def _wait_for_next_poll(self):
        return "waited"

    def _evict_terminal_groups(self, reasons):
        return "evicted"


@pytest.mark.parametrize("kind", [Plain, Otherwise])
def test_a_sampler_that_polls_otherwise_runs_unwatched(kind, caplog):
    buffer = kind()
    assert watch(buffer, Watchdog(Liveness(list), 60.0, 8)) is buffer
    assert buffer.sample() == "batch"
    assert kind is Plain or (buffer._wait_for_next_poll(), buffer._evict_terminal_groups(1)) == ("waited", "evicted")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and f"{kind.__name__} cannot be watched" in warnings[0].getMessage()


def test_a_dialogue_is_as_long_as_the_leaderboard_allows():
    """BFCL's loop ends a dialogue after the 21st step with calls of one user turn."""
    assert RolloutConfig().max_steps_per_turn == 21


def test_ray_has_what_the_guard_asks_for():
    assert issubclass(RayTaskError, ray.exceptions.RayError) and callable(ray.wait)
