"""A folder that cannot be written into for a while, for root too, whom permissions do not stop."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@cache
def can_be_read_only() -> bool:
    """Whether a folder can be closed to this user: root needs immutable files, which a container may not allow."""
    if os.geteuid() != 0:
        return True
    if shutil.which("chattr") is None:
        return False
    with TemporaryDirectory() as folder:
        allowed = subprocess.run(["chattr", "+i", folder], capture_output=True).returncode == 0
        subprocess.run(["chattr", "-i", folder], capture_output=True)
    return allowed


def skip_unless_it_can_be() -> None:
    """Skip the test where no folder can be closed to this user."""
    if not can_be_read_only():
        pytest.skip("root may write into any folder where it has no immutable files (chattr +i)")


def make_read_only(folder: Path) -> None:
    """Close a folder, where that can be done."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
    else:
        subprocess.run(["chattr", "+i", folder], check=True, capture_output=True)


def make_writable(folder: Path) -> None:
    """Undo `make_read_only`."""
    if os.geteuid() != 0:
        folder.chmod(0o755)
    else:
        subprocess.run(["chattr", "-i", folder], check=True, capture_output=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Keep a folder closed; skip the test where that cannot be done."""
    skip_unless_it_can_be()
    make_read_only(folder)
    try:
        yield
    finally:
        make_writable(folder)
