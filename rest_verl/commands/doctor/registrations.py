"""Check that verl's registries hold our names, and our entries under them.

Some of verl's registries refuse a name that is taken (estimators, reward managers, trainers), so that the import of
the second module fails; in the others the second entry silently wins (policy losses, agent loops, platforms). So each
entry's module is checked after everything that may register has been imported.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from rest_verl.commands.doctor.findings import Finding, Level, catch_errors, error_line
from rest_verl.commands.doctor.plugin import ONLY_OURS
from rest_verl.plugin.registries import REGISTRIES


def check_names(group: str) -> Iterator[Finding]:
    """One finding per registry, in this process. Imports verl's trainer: seconds."""
    import_module("verl")
    errors: dict[str, Exception] = {}
    for registry in REGISTRIES.values():
        # a failed import is not tried again: its hooks have run, so a second try would seem to work
        if registry.module not in errors:
            try:
                registry.entries()
            except Exception as error:
                traceback.print_exception(error)
                errors[registry.module] = error
    for kind, registry in REGISTRIES.items():
        if (failure := errors.get(registry.module)) is not None:
            remedy = f"see the log; if another plugin took a name first, {ONLY_OURS} leaves it out"
            yield Finding(group, kind, error_line(failure), Level.FAILURE, remedy)
        else:
            yield judge_entries(group, kind, registry.names, registry.entries())


def judge_entries(group: str, kind: str, names: tuple[str, ...], entries: Mapping[str, Any]) -> Finding:
    """Whether a registry holds all of our names, with our entries."""
    missing = [name for name in names if name not in entries]
    if missing:
        remedy = "the plugin must be loaded: see its failure above, and `VERL_USE_EXTERNAL_PLUGINS`"
        return Finding(group, kind, f"missing: {', '.join(missing)}", Level.FAILURE, remedy)
    modules = {name: module_of(entries[name]) for name in names}
    foreign = {name: module for name, module in modules.items() if module.partition(".")[0] != "rest_verl"}
    if foreign:
        found = ", ".join(f"{name} is held by {module}" for name, module in foreign.items())
        remedy = (
            f"another plugin registers the same name: uninstall it, or set {ONLY_OURS} in every process of the run"
        )
        return Finding(group, kind, found, Level.FAILURE, remedy)
    return Finding(group, kind, ", ".join(names))


def module_of(entry: Any) -> str:
    """The module of an entry; verl's registry of agent loops holds Hydra nodes that name a class."""
    if isinstance(entry, Mapping):
        return str(entry["_target_"]).rpartition(".")[0]
    return str(entry.__module__)


GROUP = "Ray worker"


def check_worker(engines: list[str]) -> Iterator[Finding]:
    """Check a worker of the Ray cluster that a run would use (RAY_ADDRESS, or `ray start`), or of a new one.

    Args:
        engines: installed rollout engines, by verl's names.
    """
    import ray

    # as verl does: without an address Ray uses the running cluster
    ray.init(include_dashboard=False, log_to_driver=False)
    try:
        # no CPU requested: a fully used cluster is not a failure
        look = ray.remote(num_cpus=0, max_retries=0)(_look)
        yield from ray.get(look.remote(engines))
    finally:
        ray.shutdown()


def _look(engines: list[str]) -> list[Finding]:
    found = list(check_names(GROUP))
    for engine in engines:
        remedy = f"{engine} does not load here: reinstall it with the torch that it was built for (see the versions)"
        found += catch_errors(GROUP, f"engine {engine}", remedy, partial(_check_engine, engine))
    return found


def _check_engine(engine: str) -> Iterator[Finding]:
    from verl.workers.rollout.replica import get_rollout_replica_class

    yield Finding(GROUP, f"engine {engine}", f"imported by verl as {get_rollout_replica_class(engine).__name__}")
