"""What `+platform=cpu` derives from the machine: the precision of its processor, and threads for each worker."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Flags of processors with instructions for bf16: without them bf16 is slower than float32. Arm's is `bf16`.
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_CPUINFO = Path("/proc/cpuinfo")


def has_bf16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor has instructions for bf16.

    Args:
        cpuinfo: the kernel's description of the processors; a file that is not there has none.
    """
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return flags is not None and not _BF16.isdisjoint(flags[1].split())


def threads_of(workers: int) -> int:
    """Threads for each of `workers` processes that compute at the same time: an equal share of the cores that this
    process may use, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, workers))
