"""verl's own tests, each file in a process of its own, in an environment with this plugin and in one without it.

verl's wheel installs its tests as the package `tests`, into a folder that it shares with TransferQueue's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from trust import outcomes
from trust.environments import linked_environment, site_of, variables_of
from trust.outcomes import Outcome, Record, counted, differences, read_record
from trust.processes import run_group

PLUGIN = "rest-verl"
HEAD = ["in verl's `tests/`", "size", "with the plugin", "without it", "differing"]
# Files of verl's that have nothing to say here, by what they ask for. Ray would wait for GPUs until the time is over.
LEFT_OUT = {
    "accelerators": (
        "checkpoint_engine/test_correctness_on_gpu.py",
        "checkpoint_engine/test_correctness_on_npu.py",
        "single_controller/test_colocated_workers.py",
        "single_controller/test_colocated_workers_fused.py",
        "single_controller/test_data_transfer.py",
        "single_controller/test_device_mesh_register.py",
        "single_controller/test_driverfunc_to_worker.py",
        "single_controller/test_high_level_scheduling_api.py",
        "single_controller/test_nested_worker.py",
        "single_controller/test_ray_collectives.py",
        "single_controller/test_rvdz.py",
        "single_controller/test_split_resource_pool.py",
        "single_controller/test_worker_group_basics.py",
        "single_controller/test_worker_group_torch.py",
    ),
    "a language model from the network": (
        "checkpoint_engine/test_special_server_adapter.py",
        "checkpoint_engine/test_utils.py",  # helpers of the other
        "experimental/agent_loop/test_basic_agent_loop.py",
        "experimental/agent_loop/test_gpt_oss_tool_parser.py",
        "experimental/agent_loop/test_multi_modal.py",
        "experimental/agent_loop/test_standalone_rollout.py",
    ),
}


@dataclass(frozen=True)
class Pair:
    """A file of verl's tests, run with the plugin and without it."""

    file: str
    with_plugin: Record
    without: Record

    @property
    def differing(self) -> dict[str, tuple[str, str]]:
        """The tests that differ, each with what became of it with the plugin and without."""
        return differences(self.with_plugin.outcomes, self.without.outcomes)

    @property
    def row(self) -> list[str]:
        """Its line of the table."""
        one, other = self.with_plugin.outcomes, self.without.outcomes
        size = len({*one, *other})
        tests = "1 test" if size == 1 else f"{size} tests"
        return [f"`{self.file.removeprefix('tests/')}`", tests, counted(one), counted(other), str(len(self.differing))]


def files_of_verl() -> list[str]:
    """The test files that verl's wheel installed, as paths below site-packages, without those of LEFT_OUT."""
    left_out = {f"tests/{file}" for files in LEFT_OUT.values() for file in files}
    paths = [path for path in distribution("verl").files or [] if path.parts[0] == "tests"]
    return sorted({str(path) for path in paths if path.match("test_*.py")} - left_out)


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


def run_pairs(files: list[str], out: Path, seconds: float, on_file: Callable[[str], None]) -> Iterator[Pair]:
    """Run files of verl's tests both ways, one process after the other.

    Args:
        files: as `files_of_verl` gives them.
        out: folder for the environments, the outcomes and what the tests print.
        seconds: after which a file's process is ended.
        on_file: is told what is run next.
    """
    pythons = environments(out)
    for file in files:
        on_file(file)
        yield Pair(file, *(run_file(python, file, seconds) for python in pythons))


def run_file(python: Path, file: str, seconds: float) -> Record:
    """Run one file of tests in an environment that `environments` made, until it ends or its time is over."""
    home = python.parents[1]
    found = home / "outcomes" / Path(file).with_suffix(".jsonl")
    work = home / "work"  # not a checkout: what lies in the current folder can be imported
    found.parent.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    found.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", str(site_of(python) / file), "--rootdir", str(site_of(python))]
    command += ["-p", Path(outcomes.__file__).stem, "--outcomes", str(found), "-p", "no:cacheprovider", "--tb=short"]
    done = run_group(command, work, seconds, variables_of(python))
    found.with_suffix(".log").write_text(f"{done.output}\n{done.errors}\n", encoding="utf-8")
    return read_record(found)


def not_as_said(pairs: list[Pair]) -> list[str]:
    """The files that prove nothing: no tests, a process that did not come to its end, or one in which the plugin was
    not where it is installed, or was where it is not."""
    found = []
    for pair in pairs:
        one, other = pair.with_plugin.process, pair.without.process
        if one is None or other is None:
            found.append(f"{pair.file}: the tests did not come to their end")
        elif not pair.without.outcomes:
            found.append(f"{pair.file}: there were no tests")
        elif not one.importable or one.plugin != one.verl:
            found.append(f"{pair.file}: verl did not load the plugin where it is installed")
        elif other.importable or other.plugin:
            found.append(f"{pair.file}: the plugin was there where it is not installed")
    return found


def notes_on(pairs: list[Pair]) -> list[str]:
    """What the table does not say: where the plugin was, how each failure came about, which tests differ."""
    loaded = sum(pair.with_plugin.process is not None and pair.with_plugin.process.plugin for pair in pairs)
    absent = sum(pair.without.process is not None and not pair.without.process.importable for pair in pairs)
    notes = [
        f"The plugin was loaded by verl in {loaded} of {len(pairs)} processes with it, and could not be imported in "
        f"{absent} of {len(pairs)} without it, as each process found at its end."
    ]
    notes += [f"Left out: {len(files)} files of verl's that need {what}." for what, files in LEFT_OUT.items()]
    failed = [outcome for pair in pairs for outcome in pair.without.outcomes.values() if outcome.result == "failed"]
    if failed:
        notes.append(f"verl's own tests that fail here without the plugin: {_by_kind(failed)}.")
    notes += [
        f"`{test}`: {one} with the plugin, {other} without it."
        for pair in pairs
        for test, (one, other) in pair.differing.items()
    ]
    return notes + [f"{line}." for line in not_as_said(pairs)]


def _by_kind(failed: list[Outcome]) -> str:
    kinds = Counter(outcome.raised for outcome in failed)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
