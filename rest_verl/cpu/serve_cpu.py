"""`vllm serve` on a CPU: python -m rest_verl.cpu.serve_cpu MODEL [options of vllm serve].

vLLM looks up its own distribution as `vllm`, but its CPU wheel has another name, so the wheel's command `vllm` fails.
This module adds that name, also in vLLM's child processes, which import it first.
"""

from __future__ import annotations

import sys

from rest_verl.cpu import vllm_cpu_name

vllm_cpu_name.install()


def main() -> None:
    """Run `vllm serve` with the options of the command line.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """
    from vllm.entrypoints.cli.main import main as vllm

    sys.argv[:1] = ["vllm", "serve"]
    vllm()


if __name__ == "__main__":
    main()
