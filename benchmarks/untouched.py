"""Does the plugin leave verl as it is? verl's own tests with the plugin installed and without, test by test.

Two environments are made of links to the packages of this one; one of them lacks rest-verl, its entry point and its
Hydra plugin. Each file of verl's tests runs in both, in a process of its own, and every test has to have the same
outcome, down to the type of the error where verl's own test fails here (no GPU, no network). Files of tests that need
accelerators or a language model are left out. verl's wheel installs its tests as the package `tests`, into a folder
that it shares with TransferQueue's.

    pip install --no-deps pytest-asyncio    # for tests of verl's agent loop that are coroutines
    python benchmarks/untouched.py          # an hour
    python benchmarks/untouched.py --only core_algos
    python benchmarks/untouched.py --quick  # one file: half a minute
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Annotated, Any
from venv import EnvBuilder

import typer
from harness import Fresh, Out, Publish, Quick, Study
from trust import outcomes
from trust.outcomes import Record, run_pytest

PLUGIN = "rest-verl"
QUICK_FILE = "tests/test_base_config_on_cpu.py"
# Files of verl's tests that have nothing to say here, as patterns below `tests/`: they ask for accelerators, for which
# Ray would wait until the time is over, or for a language model from the network. test_utils.py holds helpers of
# test_special_server_adapter.py.
LEFT_OUT = (
    r"checkpoint_engine/test_correctness_on_(gpu|npu)\.py|single_controller/(?!.*cpu).*\.py"
    r"|checkpoint_engine/test_(special_server_adapter|utils)\.py"
    r"|experimental/agent_loop/test_(basic_agent_loop|gpt_oss_tool_parser|multi_modal|standalone_rollout)\.py"
)


def linked_environment(folder: Path, without: str | None = None, modules: Sequence[Path] = ()) -> Path:
    """Make a virtual environment whose packages are links to those of the running one, so that what one distribution
    changes shows with the same interpreter and the same files.

    Args:
        folder: where; what was there goes.
        without: distribution that the environment does not have; everything in its top-level folders is left out.
        modules: files that can be imported there next to the packages.

    Returns:
        its Python.

    Raises:
        PackageNotFoundError: there is no such distribution.
    """
    left_out = set() if without is None else _top_level(without)
    EnvBuilder(clear=True, symlinks=True, with_pip=False).create(folder)
    python = folder.resolve() / "bin" / "python"
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name not in left_out:
            (site_of(python) / entry.name).symlink_to(entry)
    for module in modules:
        (site_of(python) / module.name).symlink_to(module.resolve())
    return python


def site_of(python: Path) -> Path:
    """Where the packages of a linked environment are."""
    return python.parents[1] / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)


def _top_level(name: str) -> set[str]:
    # As it is installed: in a checkout that was built from, setuptools leaves another description of it, which
    # `distribution` finds first where Python was started there.
    found = next(iter(distributions(name=name, path=[sysconfig.get_path("purelib")])), None)
    if found is None:
        raise PackageNotFoundError(name)
    return {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}


def files_of_verl() -> list[str]:
    """The test files that verl's wheel installed, as paths below site-packages, without those of LEFT_OUT."""
    paths = [path for path in distribution("verl").files or [] if path.parts[0] == "tests"]
    files = [str(path) for path in paths if path.match("test_*.py")]
    return sorted(file for file in files if not re.fullmatch(LEFT_OUT, file.removeprefix("tests/")))


@cache
def environments(out: Path) -> tuple[Path, Path]:
    """Make the two environments below a folder; the Python of the one with the plugin, and of the other."""
    recorder = [Path(outcomes.__file__)]
    pythons = (
        linked_environment(out / "with", modules=recorder),
        linked_environment(out / "without", without=PLUGIN, modules=recorder),
    )
    for python in pythons:
        (site_of(python) / "pytest.ini").write_text("[pytest]\n")  # without it pytest takes the settings of a checkout
    return pythons


def run_file(python: Path, file: str, seconds: float) -> Record:
    """Run one file of tests in an environment that `environments` made, until it ends or its time is over."""
    home, site = python.parents[1], site_of(python)
    work = home / "work"  # not a checkout: what lies in the current folder can be imported
    work.mkdir(exist_ok=True)
    command = [str(python), "-m", "pytest", str(site / file), "--rootdir", str(site), "--tb=short"]
    found = home / "outcomes" / Path(file).with_suffix(".xml")
    return run_pytest([*command, "-p", Path(outcomes.__file__).stem], found, work, seconds)[1]


def compare(file: str, out: Path, seconds: float) -> dict[str, Any]:
    """Run a file both ways; returns `verdict`."""
    return verdict(*(run_file(python, file, seconds) for python in environments(out)))


def verdict(with_plugin: Record, without: Record) -> dict[str, Any]:
    """What two runs of a file say: the number of tests, those that differ with both outcomes, whether verl loaded the
    plugin and whether it was absent, and why it all proves nothing, if it does not."""
    ours, theirs = with_plugin.outcomes, without.outcomes
    both = {test: [ours.get(test, "absent"), theirs.get(test, "absent")] for test in sorted({*ours, *theirs})}
    return {
        "tests": len(both),
        "differing": {test: pair for test, pair in both.items() if pair[0] != pair[1]},
        "loaded": with_plugin.process is not None and with_plugin.process.plugin,
        "absent": without.process is not None and not without.process.importable,
        "proves_nothing": _nothing_proved(with_plugin, without),
    }


def _nothing_proved(with_plugin: Record, without: Record) -> str:
    one, other = with_plugin.process, without.process
    if one is None or other is None:
        return "the tests did not come to their end"
    if not without.outcomes:
        return "there were no tests"
    if not one.importable or one.plugin != one.verl:
        return "verl did not load the plugin where it is installed"
    return "the plugin was there where it is not installed" if other.importable or other.plugin else ""


def findings(pieces: dict[str, Any]) -> dict[str, Any]:
    """What all files say together."""
    return {
        "files": len(pieces),
        **{kind: sum(piece[kind] for piece in pieces.values()) for kind in ("tests", "loaded", "absent")},
        "differing": sum(len(piece["differing"]) for piece in pieces.values()),
        "held": not any(piece["differing"] or piece["proves_nothing"] for piece in pieces.values()),
    }


def main(
    only: Annotated[str, typer.Option(help="Only files of tests with this in their path.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Seconds per file, after which its process is stopped.")] = 300,
    quick: Quick = False,
    out: Out = Path("runs/trust/untouched"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Compare verl with the plugin and without it."""
    out = out / "quick" if quick else out
    files = [QUICK_FILE] if quick else [file for file in files_of_verl() if only in file]
    study = Study("trust_untouched", {"verl": distribution("verl").version, "quick": quick}, out, fresh=fresh)
    study.run({file: partial(compare, file, out, seconds) for file in files})
    found = findings(study.pieces)
    study.finish(found, publish and not quick and set(study.pieces) == set(files_of_verl()))
    typer.echo(", ".join(f"{name}: {value}" for name, value in found.items()))
    raise typer.Exit(int(not found["held"]))


if __name__ == "__main__":
    typer.run(main)
