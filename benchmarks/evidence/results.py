"""The result files of the studies, in benchmarks/results/: small, committed, and all that docs/evidence.md is made of.

A file says what made it: the command, the machine and the date, beside what the study found.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

from page import machine

FOLDER = Path(__file__).parents[1] / "results"
CPU = f"{os.cpu_count()} CPU cores"


def write_result(study: str, found: dict[str, Any], device: str = CPU, folder: Path = FOLDER) -> Path:
    """Write what a study found as `<study>.json` and return the path.

    Args:
        study: name of the file.
        found: JSON values by name.
        device: what the models ran on, as a reader would name it.
        folder: where result files are.
    """
    script = Path(sys.argv[0]).name
    made_by = {
        "command": shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]]),
        "machine": machine().removesuffix(", one thread"),
        "device": device,
        "date": date.today().isoformat(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study}.json"
    path.write_text(json.dumps({"made_by": made_by, **found}, indent=1) + "\n")
    return path


def read_result(study: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """Read a study's result file; None where it has not been run."""
    path = folder / f"{study}.json"
    return json.loads(path.read_text()) if path.exists() else None


def said_by(made_by: dict[str, str]) -> str:
    """What made a result, as the page says it."""
    return f"`{made_by['command']}`: {made_by['machine']}, {made_by['device']}, {made_by['date']}."
