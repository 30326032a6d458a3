"""`vllm serve` on a CPU: python -m rest_verl.cpu.serve_cpu MODEL [options of vllm serve].

vLLM looks itself up as the distribution `vllm`, and its CPU wheel has another name, so the command `vllm` of that
wheel ends with an error. Here it has that name, in vLLM's child processes as well, which import this module first.
"""

from __future__ import annotations

import sys

from rest_verl.cpu import vllm_cpu_name

vllm_cpu_name.install()


def main() -> None:
    """Serve with the options of the command line, which are vLLM's own.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """
    from vllm.entrypoints.cli.main import main as vllm

    sys.argv[:1] = ["vllm", "serve"]
    vllm()


if __name__ == "__main__":
    main()
