"""What the plugin adds to `import verl`: paired runs in fresh processes, with this plugin loaded and not, in turn.

.venv/bin/python benchmarks/import_time.py --pairs 10
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

TIMED = "import time; begin = time.perf_counter(); import verl; print(time.perf_counter() - begin)"
# verl looks through all entry points whether or not this plugin is there: a name that nobody has keeps that part.
BASELINE = {"VERL_USE_EXTERNAL_PLUGINS": "nobody"}


def seconds(extra: dict[str, str]) -> float:
    """Seconds that `import verl` takes in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED], env=os.environ | extra, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main(pairs: Annotated[int, typer.Option(min=1, help="Paired runs.")] = 10) -> None:
    """Measure and print the difference."""
    seconds({})  # the files are in the page cache from here on
    with_plugin, without = [], []
    for _ in track(range(pairs), description="importing verl"):
        without.append(seconds(BASELINE))
        with_plugin.append(seconds({}))
    added = [late - early for late, early in zip(with_plugin, without, strict=True)]
    before, after = statistics.median(without), statistics.median(with_plugin)
    Console().print(
        f"medians of {pairs}: {before:.2f} s without the plugin, {after:.2f} s with ({after / before:.3f} times)"
    )
    Console().print(f"added: median {statistics.median(added):+.3f} s, {min(added):+.3f} to {max(added):+.3f}")


if __name__ == "__main__":
    typer.run(main)
