"""What every study and benchmark shares: common options, resumption, seeds, progress, one JSON file with the
circumstances, and one table writer.

A study is a set of pieces of work, each under a key. `Study.run` does those that no earlier run of the same command
has finished and writes each into `<out>/<name>.json` at once; `Study.finish` adds what follows from them (verdicts and
tables, as data) and, with `--publish`, copies the file into benchmarks/results/ and refreshes the numbers of the pages
that quote it (page_numbers.py).
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "images"
# Studies train the CPU examples' kind of model and run verl as the examples do; some share helpers with the tests.
sys.path += [str(ROOT / folder) for folder in ("examples/cpu", "examples/turns", "tests/helpers")]
WIDTH = 119  # characters of a line of a result file, where its values allow

Quick = Annotated[bool, typer.Option("--quick", help="Run a small form that tries everything and decides nothing.")]
Out = Annotated[Path, typer.Option(help="Folder for the result file and whatever the study makes on the way.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the pieces that an earlier run has finished.")]
Publish = Annotated[
    bool, typer.Option("--publish", help="Also write benchmarks/results/, the figures and the pages' numbers.")
]
Jobs = Annotated[int, typer.Option(min=1, help="Number of processes.")]


class Study:
    """A study while it runs: `pieces` has what finished pieces returned (JSON values) by key, and `progress` is for
    bars of a piece's own."""

    def __init__(self, name: str, plan: Mapping[str, Any], out: Path, *, fresh: bool = False, device: str = ""):
        """Open `<out>/<name>.json`, unless `fresh`. `plan` is everything that decides what a piece returns: pieces of
        another plan are never mixed with these, `typer.BadParameter`. `device` is what models run on, if not the CPU.
        """
        self.plan, self.path = json.loads(json.dumps(plan)), out.resolve() / f"{name}.json"
        self._begun, self._device = time.monotonic(), device or f"{os.cpu_count()} CPU cores"
        before = {} if fresh else read_result(name, self.path.parent) or {}
        if before and before["plan"] != self.plan:
            raise typer.BadParameter(f"{self.path} holds another plan. Give another --out, or discard it with --fresh")
        self.pieces: dict[str, Any] = before.get("pieces", {})
        self._seconds = before.get("made_by", {}).get("seconds", 0)
        columns = (TextColumn("{task.description:<40.40}"), BarColumn(bar_width=16), MofNCompleteColumn())
        self.progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))

    def run(self, work: Mapping[str, Callable[[], Any]], jobs: int = 0) -> dict[str, Any]:
        """Do the unfinished pieces, one after the other or, with `jobs` > 0, in as many fresh processes (whatever they
        call must then be importable and picklable). Returns all pieces named in `work`, in its order."""
        waiting = {key: do for key, do in work.items() if key not in self.pieces}
        with self.progress:
            bar = self.progress.add_task(self.path.stem, total=len(work), completed=len(work) - len(waiting))
            for key, piece in _parallel(waiting, jobs) if jobs else ((key, do()) for key, do in waiting.items()):
                self.pieces[key] = piece
                self._write({})
                self.progress.update(bar, description=f"{self.path.stem}: {key}", advance=1)
        order = [*work, *(key for key in self.pieces if key not in work)]
        self.pieces = {key: self.pieces[key] for key in order}
        return {key: self.pieces[key] for key in work}

    def prepare(self, description: str, do: Callable[[Callable[..., None]], Any]) -> Any:
        """Do something that reports (done, total, ...) to the function that it is given, under a bar of its own."""
        with self.progress:
            bar = self.progress.add_task(description, total=1)
            found = do(lambda done, total, *_: self.progress.update(bar, completed=done, total=total))
            self.progress.remove_task(bar)
        return found

    def finish(
        self, found: Mapping[str, Any], publish: bool = False, draw: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Write the result with what follows from its pieces, print `found["tables"]`, and with `publish` draw its
        figures and write it where the pages read it."""
        result, console = self._write(found), Console()
        for name, one in found.get("tables", {}).items():
            shown = Table(*one["head"], title=name)
            for row in one["rows"]:
                shown.add_row(*map(str, row))
            console.print(shown)
        console.print(f"written: {self.path}", soft_wrap=True)
        if publish:
            from page_numbers import refresh

            write_result(RESULTS / self.path.name, result)
            if draw:
                draw(result)
            console.print(f"published; numbers that changed in pages: {len(refresh())}")

    def _write(self, found: Mapping[str, Any]) -> dict[str, Any]:
        made_by = circumstances(self._device, self._seconds + time.monotonic() - self._begun)
        result = {"made_by": made_by, "plan": self.plan, "pieces": self.pieces, **found}
        write_result(self.path, result)
        return result


@contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes with one thread each; after a failure, work that waits for them is not begun."""
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=in_a_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_a_worker() -> None:
    """Prepare a process that works next to others."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(1)
    disable_progress_bar()  # transformers' own bars would tear the study's


def circumstances(device: str, seconds: float) -> dict[str, Any]:
    """What made a result: command, machine, versions, commit, date, seconds."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {device}",
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "verl")},
        "commit": git.stdout.strip() or None,
        "date": date.today().isoformat(),
        "seconds": round(seconds),
    }


def read_result(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Read a result file; None where there is none."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result file, whole or not at all, with one line for each record that fits into one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    half.write_text(_lines(result) + "\n")
    half.rename(path)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table as result files hold it."""
    return {"head": list(head), "rows": [list(row) for row in rows]}


def markdown_table(found: Mapping[str, Any]) -> str:
    """A table in Markdown."""
    lines = [found["head"], ["---"] * len(found["head"]), *found["rows"]]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def seeds(count: int, *entropy: int) -> list[int]:
    """Independent seeds, the same for the same numbers; fewer of them are the first of many."""
    return np.random.SeedSequence(entropy).generate_state(count, np.uint64).astype(np.int64).tolist()


def known(names: str, kind: str, allowed: Sequence[str]) -> list[str]:
    """The names of a list with commas. Raises `typer.BadParameter` for one that is not allowed."""
    from rest_verl.common.names import unknown_name

    found = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in found:
        if name not in allowed:
            raise typer.BadParameter(unknown_name(kind, name, allowed))
    return found


def save_picture(figure: Any, name: str) -> None:
    """Write a figure of matplotlib into docs/images/; the same figure gives the same file."""
    figure.savefig(IMAGES / f"{name}.png", metadata={"Software": None})


def _parallel(work: Mapping[str, Callable[[], Any]], jobs: int) -> Iterator[tuple[str, Any]]:
    with workers(jobs) as pool:
        futures = {pool.submit(do): key for key, do in work.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lines(value: Any, indent: str = "", used: int = 0) -> str:
    """JSON in which a record (a dict or list of scalars and lists of numbers) stands on one line, and so does whatever
    fits into WIDTH characters; `used` of them stand in front of the value, which begins on a line with this indent."""
    whole = json.dumps(value, ensure_ascii=False)
    members = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if used + len(whole) < WIDTH or all(not isinstance(one, dict | list) or _numbers(one) for one in members):
        return whole
    inner = indent + " "
    names = (
        [f"{json.dumps(key, ensure_ascii=False)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    )
    parts = [name + _lines(one, inner, len(inner + name)) for name, one in zip(names, members, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"


def _numbers(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, list) and all(map(_numbers, value)))
