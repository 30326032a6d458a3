"""What is asked of processes that a run needs; tests/e2e/test_watchdog_on_cpu.py asks real ones."""

from vllm.v1.engine.async_llm import AsyncLLM

from rest_verl.resilience.liveness import Liveness


def test_where_nothing_has_to_be_alive_nothing_has_died():
    assert Liveness(list).look() is None


def test_vllms_engine_has_what_is_asked_of_it():
    """The question runs in vLLM's server during a run, where a name that vLLM has no more would end it."""
    assert isinstance(AsyncLLM.errored, property) and isinstance(AsyncLLM.dead_error, property)
