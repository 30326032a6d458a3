"""What the documentation points to is there."""

import re
from pathlib import Path

import pytest
from render import RENDERERS

from rest_verl.formats import get_format

ROOT = Path(__file__).parents[1]
FORMATS = ROOT / "rest_verl" / "formats"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page):
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())
    missing = [
        (file, test)
        for file, test in named
        if not (ROOT / file).exists() or (test and f"def {test}(" not in (ROOT / file).read_text())
    ]
    assert missing == []


def test_every_deviation_from_the_authors_code_has_its_test():
    section = (ROOT / "docs" / "algorithm.md").read_text().partition("## Where this differs")[2]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 7
    assert all(re.search(r"`tests/[\w/]+\.py::\w+` \|$", row) for row in rows)


def test_every_format_is_on_its_page():
    named = set(re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs" / "formats.md").read_text(), re.MULTILINE))
    assert named == set(RENDERERS)
    assert all(get_format(name) for name in named)


def test_every_file_on_the_map_for_contributors_exists():
    named = re.findall(r"`([\w./]+\.(?:py|md))`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 15
    assert [
        path for path in named if not any((room / path).exists() for room in (ROOT, ROOT / "rest_verl", FORMATS))
    ] == []
