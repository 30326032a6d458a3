"""A folder that cannot be written into for a while, for root too, whom permissions do not stop."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def make_read_only(folder: Path) -> None:
    """Make a folder read-only; skip the test where only root's own way would do and the file system has none."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
    elif subprocess.run(["chattr", "+i", folder], capture_output=True).returncode:
        pytest.skip("root may write into any folder of a file system without immutable files")


def make_writable(folder: Path) -> None:
    """Undo `make_read_only`."""
    if os.geteuid() != 0:
        folder.chmod(0o755)
    else:
        subprocess.run(["chattr", "-i", folder], check=True, capture_output=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Keep a folder read-only."""
    make_read_only(folder)
    try:
        yield
    finally:
        make_writable(folder)
