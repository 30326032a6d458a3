"""What is said once and needed in several places: the version, the addresses. The workflows of the code host: what
they run is there, and they may do no more than they need."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from tiers import HANG_GUARD

import rest_verl

ROOT = Path(__file__).parents[1]


def test_the_installed_version_is_the_package_s_own():
    assert metadata("rest-verl")["Version"] == rest_verl.__version__


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == rest_verl.__version__
    assert [reference["url"] for reference in citation["references"]] == ["https://arxiv.org/abs/2509.21826"]


def test_every_project_url_is_of_one_repository():
    urls = dict(line.split(", ", 1) for line in metadata("rest-verl").get_all("Project-URL"))
    assert sorted(urls) == ["Changelog", "Documentation", "Issues", "Source"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == urls["Source"]
    assert urls["Issues"].startswith(urls["Source"]) and urls["Changelog"].startswith(urls["Source"])


# What a build reads of a checkout.
SOURCES = ("rest_verl", "hydra_configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as backend; getattr(backend, 'build_' + sys.argv[1])(sys.argv[2])"


def build(kind, source, out):
    """Build `wheel` or `sdist` from a folder, as pip does, and return its path."""
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=HANG_GUARD)
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, and the one that is built from the sdist."""
    folder = tmp_path_factory.mktemp("build")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, checkout)
    sdist = build("sdist", checkout, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    (folder / "again").mkdir()
    return build("wheel", checkout, folder), build("wheel", unpacked, folder / "again")


def test_the_wheel_has_all_that_a_run_reads(built):
    """Presets, templates, the viewer's page, py.typed and Hydra's plugin, and every module; nothing besides."""
    names = names_in(built[0])
    read = [path for path in ROOT.glob("rest_verl/**/*") if path.suffix in (".py", ".jinja", ".js", ".css")]
    wanted = {str(path.relative_to(ROOT)) for path in read if "hydra_configs" not in path.parts}
    wanted |= {f"rest_verl/{path.relative_to(ROOT)}" for path in ROOT.glob("hydra_configs/**/*.yaml")}
    moved = {name for name in wanted if name.startswith("rest_verl/plugin/hydra/")}
    wanted = (wanted - moved) | {name.replace("rest_verl/plugin/hydra", "hydra_plugins/rest_verl") for name in moved}
    assert wanted | {"rest_verl/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} <= {
        "rest_verl",
        "hydra_plugins",
        f"rest_verl-{rest_verl.__version__}.dist-info",
    }
    assert not [name for name in names if re.search(r"(^|/)(tests|examples|benchmarks)/|\.pyc$", name)]


def test_the_wheel_has_this_version_and_its_entry_points(built):
    with zipfile.ZipFile(built[0]) as archive:
        folder = f"rest_verl-{rest_verl.__version__}.dist-info"
        entries = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"\nVersion: {rest_verl.__version__}\n" in archive.read(f"{folder}/METADATA").decode()
    assert "rest_verl = rest_verl.plugin.hooks" in entries and "rest-verl = rest_verl.__main__:main" in entries


def test_the_sdist_builds_the_same_wheel(built):
    first, again = built
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            assert name.endswith("/RECORD") or one.read(name) == other.read(name), name


# Stands in for Python and for the pip of the environment that it makes: writes down what is asked of it.
RECORDER = """#!/usr/bin/env bash
echo "$*" >>calls
if [[ "$*" == "-m venv .venv" ]]; then mkdir -p .venv/bin && cp "$0" .venv/bin/pip; fi
"""
STACK_CALLS = ["-m venv .venv", "install torch==2.13.0", "install --no-deps -r constraints-cpu.txt"]
LINK_CALLS = ["install --no-deps -e . --config-settings editable_mode=strict"]


def test_an_environment_follows_the_files_of_its_checkout(tmp_path):
    """A strict editable install links file by file: one that was linked before a pull lacks what came with it."""
    for name in ("examples/install_cpu.sh", "constraints-cpu.txt", "setup.py", "rest_verl/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "hydra_configs").mkdir()
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(RECORDER)
    python.chmod(0o755)

    def asked():
        calls.write_text("")
        script = ["bash", str(tmp_path / "examples" / "install_cpu.sh")]
        subprocess.run(script, env=os.environ | {"PYTHON": str(python)}, check=True, stdout=subprocess.DEVNULL)
        return [line for line in calls.read_text().splitlines() if not line.startswith("-c ")]

    init = tmp_path / "rest_verl" / "__init__.py"
    constraints = tmp_path / "constraints-cpu.txt"
    assert asked() == STACK_CALLS + LINK_CALLS
    assert asked() == []
    init.write_text(init.read_text() + "# edited\n")  # a link shows it
    (tmp_path / "rest_verl" / "old.pyc").touch()
    assert asked() == []
    (tmp_path / "rest_verl" / "new.py").touch()
    assert asked() == LINK_CALLS and asked() == []
    (tmp_path / "rest_verl" / "new.py").unlink()
    assert asked() == LINK_CALLS
    init.write_text(re.sub('__version__ = ".*"', '__version__ = "9.9"', init.read_text()))
    assert asked() == LINK_CALLS
    constraints.write_text(constraints.read_text() + "one-more==1.0\n")
    assert asked() == STACK_CALLS + LINK_CALLS and asked() == []


def test_the_newest_section_of_the_changes_is_this_version():
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[0] == rest_verl.__version__


def test_a_tag_builds_what_has_its_version():
    workflow = load(ROOT / ".github" / "workflows" / "release.yml")
    assert workflow["on"]["push"]["tags"] == ["v*"]
    runs = [step.get("run", "") for step in workflow["jobs"]["build"]["steps"]]
    assert any('= "$GITHUB_REF_NAME"' in run for run in runs) and "python -m build" in runs
    assert workflow["jobs"]["publish"]["needs"] == ["test", "build"]


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PATH = re.compile(r"(?:bash|python) ((?:[\w.-]+/)*[\w-]+\.(?:sh|py))\b")


def load(workflow):
    # BaseLoader: `on` is a key, and for YAML 1.1 it is the value true
    return yaml.load(workflow.read_text(), yaml.BaseLoader)


def steps(workflow):
    return [step for job in load(workflow)["jobs"].values() for step in job["steps"]]


def test_there_is_one_each_for_tests_docs_and_release():
    assert [workflow.stem for workflow in WORKFLOWS] == ["docs", "release", "tests"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_script_that_is_run_exists(workflow):
    scripts = [script for step in steps(workflow) for script in PATH.findall(step.get("run", ""))]
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_a_change_and_a_release_run_the_tests():
    runs = {workflow.stem: [step.get("run") for step in steps(workflow)] for workflow in WORKFLOWS}
    assert "bash tests/run.sh" in runs["tests"]
    assert "bash tests/run.sh --all" in runs["release"]
    assert "mkdocs build --strict" in runs["docs"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_major(workflow):
    actions = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert actions and all(re.search(r"@(v\d+|release/v\d+)$", action) for action in actions)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_reads_and_only_publishing_writes(workflow):
    assert load(workflow)["permissions"] == {"contents": "read"}
    writing = {name for name, job in load(workflow)["jobs"].items() if "write" in job.get("permissions", {}).values()}
    assert writing <= {"publish"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_has_a_time_limit(workflow):
    assert all(int(job["timeout-minutes"]) <= 180 for job in load(workflow)["jobs"].values())
