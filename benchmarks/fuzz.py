"""Coverage-guided fuzzing of everything in rest_verl that reads what a model wrote: the parser of each wire format,
the tagger, the reward with its ground truths, and BFCL's arguments.

atheris, libFuzzer for Python, takes over a process, so each target runs in one of its own. It starts from the inputs
in tests/fuzz/corpus/, which CI replays without atheris, and leaves what it finds in a folder. A target that breaks
ends with the input that broke it. Targets that are through are not run again while the code that they are about stays
as it is, so a study that was stopped goes on. Reading is fuzzed, and nothing is run: no tool, no environment. Time is
CPU time.

    pip install --no-deps atheris==3.0.0          # for Python 3.11 to 3.13
    python benchmarks/fuzz.py --minutes 10        # of each target: three hours on one core
    python benchmarks/fuzz.py --minutes 0.3 --targets hermes,tagger
    python benchmarks/fuzz.py --minutes 0.3 --keep --no-write   # adds what reaches new code to tests/fuzz/corpus/
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from trust.fuzz_targets import TARGETS
from trust.fuzz_text import dictionary
from trust.group import Group, publish
from trust.libfuzzer import Statistics, read_line

from rest_verl.common.names import unknown_name

HERE = Path(__file__).parent
CORPUS = HERE.parent / "tests" / "fuzz" / "corpus"
PACKAGE = HERE.parent / "rest_verl"
LONGEST = 4096  # bytes of an input, before it becomes text
MEMORY_MIB = 4096
A_DAY = 86400  # seconds: trust.fuzz_process has the limits of time
INSTALL = "pip install --no-deps atheris==3.0.0 (Python 3.11 to 3.13)"
ABOUT = """\
What a model writes is read by a parser in each wire format, by the tagger, by the reward and by BFCL's rules. atheris
(libFuzzer for Python) made inputs for each of them, led by the code that an input reaches: bytes as they are, pieces
of tags, JSON and broken UTF-8 put together, and pieces repeated up to 32 KiB. A target crashes where anything is
raised that its documentation does not name, where 2 seconds of CPU time are not enough for such a text, and where an
invariant breaks: spans inside of the text and apart, calls of a name and JSON values, each token in the region that a
slow second way finds, rewards finite and within their bounds, one verdict on an argument however it is asked for
(`benchmarks/trust/fuzz_targets.py`). The tests replay a small corpus that reaches the same code."""
BROKEN = ("crash-", "oom-")  # how the files begin in which libFuzzer leaves an input that broke a target


OnLine = Callable[[Statistics, float], None]  # gets what a run has come to so far, and its seconds of CPU time


class FuzzFailed(RuntimeError):
    """A process ended otherwise than by its time or by an input that broke its target."""


@dataclass(frozen=True)
class Finding:
    """What fuzzing a target came to.

    Attributes:
        target: its name.
        statistics: by libFuzzer.
        broken: the files of inputs that broke it.
    """

    target: str
    statistics: Statistics
    broken: list[str]


def fuzz(target: str, seconds: int, out: Path, on_line: OnLine) -> Finding:
    """Fuzz a target for so many seconds of CPU time in a process of its own; `out` gets its inputs, its log and, where
    it broke, the input of that."""
    found, broken = out / "found", out / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    for folder in (found, broken):
        folder.mkdir(parents=True, exist_ok=True)
    (out / "dictionary").write_text(dictionary(TARGETS[target].pieces))
    limits = [f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={A_DAY}"]
    more = [f"-dict={out / 'dictionary'}", f"-artifact_prefix={broken}/", "-print_final_stats=1"]
    # An input that takes long is tried less often, else the large texts would take most of the time.
    more += ["-entropic_scale_per_exec_time=1", str(found), *_committed(target)]
    statistics = run(target, seconds, [*limits, *more], out / "log.txt", on_line)
    inputs = sorted(path for path in broken.iterdir() if path.name.startswith(BROKEN))
    if not inputs and not statistics.seconds:
        raise FuzzFailed(f"fuzzing {target} ended before its time: {_last_lines(out / 'log.txt')}")
    return Finding(target, statistics, [str(path) for path in inputs])


def keep(target: str, out: Path) -> int:
    """Make the committed inputs of a target the fewest that reach all that they and those found reach; how many."""
    merged = out / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    arguments = ["-set_cover_merge=1", str(merged), *_committed(target), str(out / "found")]
    run(target, 0, arguments, out / "merge.txt", lambda so_far, spent: None)
    kept = list(merged.iterdir())
    if not kept:
        raise FuzzFailed(f"merging {target} kept no input: {_last_lines(out / 'merge.txt')}")
    shutil.rmtree(CORPUS / target, ignore_errors=True)
    shutil.copytree(merged, CORPUS / target)
    return len(kept)


def run(target: str, seconds: int, arguments: list[str], log: Path, on_line: OnLine) -> Statistics:
    """Run libFuzzer on a target for so many seconds (0: as long as it takes), with these arguments; it writes to the
    log."""
    statistics = Statistics()
    command = [sys.executable, "-m", "trust.fuzz_process", target, str(seconds), *arguments]
    one_thread = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    with (
        log.open("w") as copy,
        subprocess.Popen(
            command,
            env=os.environ | one_thread,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                copy.write(line)
                copy.flush()
                statistics = read_line(line, statistics)
                on_line(statistics, sum(psutil.Process(process.pid).cpu_times()[:2]))
        except BaseException:
            process.kill()
            raise
    return statistics


def fingerprint(target: str) -> str:
    """What the code that a target is about is known by."""
    patterns = TARGETS[target].sources
    files = {path for pattern in patterns for path in PACKAGE.glob(pattern)} | set((HERE / "trust").glob("fuzz_*.py"))
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def finished(target: str, seconds: int, out: Path) -> Finding | None:
    """What an earlier run of at least so long found in the same code; None where there is none."""
    path = out / "finished.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    statistics = Statistics(**kept["statistics"])
    same = kept["fingerprint"] == fingerprint(target) and statistics.seconds >= seconds
    return Finding(target, statistics, []) if same else None


def study(names: list[str], seconds: int, jobs: int, out: Path, progress: Progress) -> list[Finding]:
    """Fuzz every target, or take what an earlier run of it found."""
    bars = {name: progress.add_task(name, total=seconds, start=False) for name in names}

    def one(name: str) -> Finding:
        folder = (out / name).resolve()
        if (earlier := finished(name, seconds, folder)) is not None:
            _show(progress, bars[name], name, earlier.statistics, seconds)
            return earlier
        code = fingerprint(name)
        progress.start_task(bars[name])
        finding = fuzz(name, seconds, folder, lambda so_far, spent: _show(progress, bars[name], name, so_far, spent))
        if not finding.broken:
            kept = {"fingerprint": code, "statistics": asdict(finding.statistics)}
            (folder / "finished.json").write_text(json.dumps(kept, indent=1) + "\n")
        return finding

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, names))


def group_of(findings: list[Finding]) -> Group:
    """What the study found, as its part of docs/trust.md."""
    total = sum(finding.statistics.executions for finding in findings)
    rows = [
        [
            finding.target,
            f"{finding.statistics.executions:,}",
            str(finding.statistics.seconds),
            f"{finding.statistics.edges:,}",
            f"{finding.statistics.features:,}",
            str(len(finding.broken)),
        ]
        for finding in findings
    ]
    return Group(
        name="fuzz",
        title="Hostile text",
        about=ABOUT,
        head=["target", "executions", "CPU seconds", "edges", "features", "crashes"],
        rows=rows,
        notes=[
            f"{total:,} executions in all. An edge is a step from one line of code to another that some input took, "
            "in rest_verl or in the checks of what it returned; a feature is an edge together with how often an input "
            "took it, in powers of two.",
        ],
        failures=sum(bool(finding.broken) for finding in findings),
    )


def known_targets(targets: str) -> str:
    """The targets, if there are such."""
    for target in targets.split(","):
        if target not in TARGETS:
            raise typer.BadParameter(unknown_name("target", target, TARGETS))
    return targets


def _committed(target: str) -> list[str]:
    """The committed inputs of a target, where it has any."""
    return [str(CORPUS / target)] if (CORPUS / target).is_dir() else []


def _last_lines(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-3:])


def _show(progress: Progress, bar: TaskID, name: str, found: Statistics, seconds: float) -> None:
    said = f"{name}: {found.executions:,} executions, {found.features:,} features"
    progress.update(bar, completed=seconds, description=said)


def main(
    minutes: Annotated[float, typer.Option(min=0.05, help="Of each target, in CPU time.")] = 10.0,
    targets: Annotated[str, typer.Option(callback=known_targets, help="What to fuzz.")] = ",".join(TARGETS),
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time, each on one core.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for what is found.")] = Path("runs/fuzz"),
    keep_inputs: Annotated[
        bool, typer.Option("--keep", help="Keep the fewest inputs that reach all of the code in tests/fuzz/corpus/.")
    ] = False,
    write: Annotated[bool, typer.Option(help="Write the result and docs/trust.md, of a study of all.")] = True,
) -> None:
    """Fuzz what reads hostile text."""
    console = Console()
    if importlib.util.find_spec("atheris") is None:
        console.print(f"fuzzing needs atheris: {INSTALL}", style="red", markup=False)
        raise typer.Exit(1)
    names = targets.split(",")
    try:
        with Progress(console=Console(stderr=True)) as progress:
            findings = study(names, round(minutes * 60), jobs, out, progress)
        if keep_inputs:
            for name in names:
                console.print(f"{name}: {keep(name, out / name)} inputs kept", markup=False)
    except FuzzFailed as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    group = group_of(findings)
    publish(group, write and set(names) == set(TARGETS), console)
    for finding in findings:
        for path in finding.broken:
            log = out / finding.target / "log.txt"
            console.print(f"{finding.target} breaks: {path} ({log} says how)", markup=False)
    if group.failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
