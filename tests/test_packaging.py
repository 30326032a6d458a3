"""What is said once and needed in several places: the version, the addresses."""

from importlib.metadata import metadata
from pathlib import Path

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
