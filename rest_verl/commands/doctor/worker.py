"""The same names in a Ray worker, where verl looks them up, and the engine's server as verl imports it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rest_verl.commands.doctor.findings import Finding, guarded
from rest_verl.commands.doctor.registrations import check_names

GROUP = "Ray worker"


def check_worker(engines: list[str]) -> Iterator[Finding]:
    """Look into a worker of the cluster that a run would use (RAY_ADDRESS, or `ray start`), or of one started here.

    Args:
        engines: installed rollout engines, by verl's names.
    """
    import ray

    # as verl does: without an address Ray takes the cluster that is there
    ray.init(include_dashboard=False, log_to_driver=False)
    try:
        # no CPU: a cluster whose CPUs are all taken is no failure
        look = ray.remote(num_cpus=0, max_retries=0)(_look)
        yield from ray.get(look.remote(engines))
    finally:
        ray.shutdown()


def _look(engines: list[str]) -> list[Finding]:
    found = list(check_names(GROUP))
    for engine in engines:
        remedy = (
            f"{engine} does not load here: install it again with the torch that it was built for (see the versions)"
        )
        found += guarded(GROUP, f"engine {engine}", remedy, partial(_check_engine, engine))
    return found


def _check_engine(engine: str) -> Iterator[Finding]:
    from verl.workers.rollout.replica import get_rollout_replica_class

    yield Finding(GROUP, f"engine {engine}", f"imported by verl as {get_rollout_replica_class(engine).__name__}")
