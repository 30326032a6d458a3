"""What is said once and needed in several places: the version, the addresses. The workflows of the code host: what
they run is there, and they may do no more than they need."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

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
