"""Whether verl's registries hold our names, and whether it is ours that they hold.

Some of verl's registries refuse a name that is taken (estimators, reward managers, trainers), which makes the import
of the module that comes second fail; the others let the second one win without a word (policy losses, agent loops,
platforms). So the module that holds a name is looked at, after everything that may register has been imported.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from rest_verl.commands.doctor.findings import Finding, Level, error_line, guarded
from rest_verl.commands.doctor.plugin import ONLY_OURS
from rest_verl.plugin.registries import REGISTRIES


def check_names(group: str) -> Iterator[Finding]:
    """One finding for each registry, in this process. Imports verl's trainer: seconds."""
    import_module("verl")
    errors: dict[str, Exception] = {}
    for registry in REGISTRIES.values():
        # a module whose import failed is not tried twice: the hooks on it are spent, and it would look half well
        if registry.module not in errors:
            try:
                registry.entries()
            except Exception as error:
                traceback.print_exception(error)
                errors[registry.module] = error
    for kind, registry in REGISTRIES.items():
        if (failure := errors.get(registry.module)) is not None:
            remedy = f"the log has all of it; where another plugin took a name first, {ONLY_OURS} leaves it out"
            yield Finding(group, kind, error_line(failure), Level.FAILURE, remedy)
        else:
            yield judge_entries(group, kind, registry.names, registry.entries())


def judge_entries(group: str, kind: str, names: tuple[str, ...], entries: Mapping[str, Any]) -> Finding:
    """Whether a registry holds all of our names, and holds what is ours."""
    missing = [name for name in names if name not in entries]
    if missing:
        remedy = "the plugin has to be loaded first: see its failure above, and `VERL_USE_EXTERNAL_PLUGINS`"
        return Finding(group, kind, f"missing: {', '.join(missing)}", Level.FAILURE, remedy)
    foreign = {name: holder(entries[name]) for name in names if holder(entries[name]).partition(".")[0] != "rest_verl"}
    if foreign:
        found = ", ".join(f"{name} is held by {module}" for name, module in foreign.items())
        remedy = (
            f"another plugin registers the same name: uninstall it, or set {ONLY_OURS} in every process of the run"
        )
        return Finding(group, kind, found, Level.FAILURE, remedy)
    return Finding(group, kind, ", ".join(names))


def holder(entry: Any) -> str:
    """The module that an entry comes from; verl's registry of agent loops holds Hydra nodes that name a class."""
    if isinstance(entry, Mapping):
        return str(entry["_target_"]).rpartition(".")[0]
    return str(entry.__module__)


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
