"""Coverage-guided fuzzing of everything in rest_verl that reads what a model wrote: the parser of each wire format,
the tagger, the reward with its ground truths, and BFCL's arguments.

atheris, libFuzzer for Python, takes over a process, so each target gets one. It starts from the inputs in
tests/fuzz/corpus/, which the tests replay without atheris. A target that breaks stops with the input that broke it,
and is fuzzed again by the next run of the command. Model output is read, never run: no tool, no environment. Time is
CPU time.

    pip install --no-deps atheris==3.0.0          # for Python 3.11 to 3.13
    python benchmarks/fuzz.py                     # 10 minutes a target: three hours on one core
    python benchmarks/fuzz.py --quick --targets hermes,tagger
    python benchmarks/fuzz.py --minutes 0.3 --keep    # also adds inputs that reach new code to tests/fuzz/corpus/
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from harness import Fresh, Jobs, Out, Publish, Quick, Study, known, table
from rich.console import Console
from trust.fuzz_targets import TARGETS
from trust.fuzzer import dictionary

HERE = Path(__file__).parent
CORPUS = HERE.parent / "tests" / "fuzz" / "corpus"
LONGEST = 4096  # bytes of an input, before it becomes text
MEMORY_MIB = 4096
A_DAY = 86400  # seconds: trust.fuzzer has the time limits
QUICK_MINUTES = 0.1
INSTALL = "pip install --no-deps atheris==3.0.0 (Python 3.11 to 3.13)"
BROKEN = ("crash-", "oom-")  # how libFuzzer names the files of inputs that broke a target
# `#4096\tpulse  cov: 310 ft: 912 corp: 210/8Kb lim: 4096 exec/s: 2048 rss: 301Mb`
STATUS = re.compile(r"^#\d+\s+\S+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
SPENT = re.compile(r"^CPU seconds: (\d+)", re.MULTILINE)  # by trust.fuzzer


class FuzzFailed(RuntimeError):
    """A process ended neither by its time nor by an input that broke its target."""


def read_corpus(path: Path) -> list[bytes]:
    """The inputs of a packed corpus: each line a JSON string with one character, U+0000 to U+00FF, per byte."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [json.loads(line).encode("latin-1") for line in lines]


def write_corpus(path: Path, inputs: Iterable[bytes]) -> int:
    """Pack inputs, sorted and without duplicates; returns their number."""
    distinct = sorted(set(inputs))
    path.write_text("".join(json.dumps(data.decode("latin-1")) + "\n" for data in distinct), encoding="ascii")
    return len(distinct)


def unpack(inputs: Iterable[bytes], folder: Path) -> Path:
    """Write inputs as libFuzzer wants them: a file each, named by its SHA-1, in a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    return folder


def packed(target: str) -> Path:
    """The committed corpus of a target."""
    return CORPUS / f"{target}.jsonl"


def fuzz(target: str, seconds: int, out: Path) -> dict[str, Any]:
    """Fuzz a target for some seconds of CPU time in a process of its own.

    Args:
        target: one of TARGETS.
        seconds: of CPU time.
        out: gets the inputs found, the log and, if the target broke, the input that broke it.

    Returns:
        `read_statistics`, and files of inputs that `broke` it.

    Raises:
        FuzzFailed: the process ended in another way.
    """
    found, broken = out / "found", unpack([], out / "broken")
    found.mkdir(exist_ok=True)
    (out / "dictionary").write_text(dictionary(TARGETS[target].pieces))
    options = [
        *(f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={A_DAY}", "-print_final_stats=1"),
        *(f"-dict={out / 'dictionary'}", f"-artifact_prefix={broken}/"),
        # Slow inputs are tried less often, or the large texts would take most of the time.
        "-entropic_scale_per_exec_time=1",
    ]
    seeds = unpack(read_corpus(packed(target)), out / "seeds")
    log = run_fuzzer(target, seconds, [*options, str(found), str(seeds)], out / "log.txt")
    statistics = read_statistics(log)
    broke = sorted(str(path) for path in broken.iterdir() if path.name.startswith(BROKEN))
    if not broke and not statistics["seconds"]:
        raise FuzzFailed(f"fuzzing {target} ended before its time: {' | '.join(log.splitlines()[-3:])}")
    return {**statistics, "broke": broke}


def keep(target: str, out: Path) -> int:
    """Make the committed inputs of a target the fewest that reach all that they and those found reach; returns their
    number."""
    merged, seeds = unpack([], out / "merged"), unpack(read_corpus(packed(target)), out / "seeds")
    log = run_fuzzer(target, 0, ["-set_cover_merge=1", str(merged), str(seeds), str(out / "found")], out / "merge.txt")
    kept = [path.read_bytes() for path in merged.iterdir()]
    if not kept:
        raise FuzzFailed(f"merging {target} kept no input: {' | '.join(log.splitlines()[-3:])}")
    return write_corpus(packed(target), kept)


def run_fuzzer(target: str, seconds: int, arguments: list[str], log: Path) -> str:
    """Run libFuzzer on a target for some seconds (0: no limit); returns its output, which is also in the log."""
    command = [sys.executable, "-m", "trust.fuzzer", target, str(seconds), *arguments]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    with log.open("wb") as sink:
        subprocess.run(command, env=variables, stdout=sink, stderr=subprocess.STDOUT)
    return log.read_text(errors="replace")


def read_statistics(log: str) -> dict[str, int]:
    """What libFuzzer and the process around it printed of a run.

    Returns:
        `executions` of the target; `seconds` of CPU time, 0 after a crash; `edges` of the instrumented code that were
        reached; `features`, edges by how often an input takes them, in powers of two; `inputs` that reach something
        new, those it began with included.
    """
    last = (STATUS.findall(log) or [(0, 0, 0)])[-1]
    executions, seconds = (int((pattern.findall(log) or [0])[-1]) for pattern in (EXECUTED, SPENT))
    edges, features, inputs = map(int, last)
    return {"executions": executions, "seconds": seconds, "edges": edges, "features": features, "inputs": inputs}


def findings(pieces: dict[str, Any]) -> dict[str, Any]:
    """The table, and what it says as a whole."""
    columns = ("executions", "seconds", "edges", "features")
    rows = [[name, *(f"{one[column]:,}" for column in columns), len(one["broke"])] for name, one in pieces.items()]
    return {
        "executions": sum(piece["executions"] for piece in pieces.values()),
        "targets": len(pieces),
        "broken": [name for name, piece in pieces.items() if piece["broke"]],
        "tables": {"targets": table(["target", "executions", "CPU seconds", "edges", "features", "crashes"], rows)},
    }


def main(
    minutes: Annotated[float, typer.Option(min=0.05, help="CPU minutes per target.")] = 10.0,
    targets: Annotated[str, typer.Option(help="Targets to fuzz, separated by commas.")] = ",".join(TARGETS),
    jobs: Jobs = 1,
    keep_inputs: Annotated[
        bool, typer.Option("--keep", help="Reduce tests/fuzz/corpus/ and what was found to the inputs that matter.")
    ] = False,
    quick: Quick = False,
    out: Out = Path("runs/fuzz"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Fuzz whatever reads hostile text."""
    console, names = Console(), known(targets, "target", list(TARGETS))
    if importlib.util.find_spec("atheris") is None:
        console.print(f"fuzzing needs atheris: {INSTALL}", style="red", markup=False)
        raise typer.Exit(1)
    minutes = QUICK_MINUTES if quick else minutes
    study = Study("trust_fuzz", {"minutes": minutes}, out, fresh=fresh)
    study.pieces = {name: piece for name, piece in study.pieces.items() if not piece["broke"]}
    folders = {name: (out / name).resolve() for name in names}
    work = {name: partial(fuzz, name, round(minutes * 60), folder) for name, folder in folders.items()}
    try:
        study.run(work, jobs if jobs > 1 else 0)
        for name, folder in folders.items() if keep_inputs else ():
            console.print(f"{name}: {keep(name, folder)} inputs kept", markup=False)
    except FuzzFailed as failure:
        console.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from None
    found = findings(study.pieces)
    study.finish(found, publish and not quick and set(study.pieces) == set(TARGETS))
    for name in found["broken"]:
        for path in study.pieces[name]["broke"]:
            console.print(f"{name} breaks: {path} ({folders[name] / 'log.txt'} says how)", markup=False)
    raise typer.Exit(int(bool(found["broken"])))


if __name__ == "__main__":
    typer.run(main)
