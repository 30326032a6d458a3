"""Pages of the documentation: what they point to is there; docs/configuration.md is what the dataclasses and presets
say; docs/metrics.md has a row for each metric that is logged, and none for another."""

import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass

import make_configuration
import pytest
from logged_metrics import logged_metrics
from page_blocks import ROOT
from render import RENDERERS
from tiers import HANG_GUARD

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region
from rest_verl.formats import get_format
from rest_verl.rollout.calls import ERRORS
from rest_verl.rollout.record import REASONS

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


def sections(value):
    """A dataclass and those in it, without ramps."""
    yield value
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner) and not isinstance(inner, Ramp):
            yield from sections(inner)


def test_the_page_is_up_to_date():
    # in a process of its own: another test may have registered names here
    code = "import sys, make_configuration; sys.stdout.buffer.write(make_configuration.page().encode())"
    path = os.pathsep.join([str(ROOT), str(make_configuration.PAGE.parent)])
    environment = os.environ | {"PYTHONPATH": path}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True, timeout=HANG_GUARD
    )
    written = make_configuration.PAGE.read_text(encoding="utf-8")
    assert written == made.stdout.decode(), "stale: run python docs/make_configuration.py"


@pytest.mark.parametrize("section", sections(RestConfig()), ids=lambda section: type(section).__name__)
def test_every_key_is_described_where_its_section_describes_keys(section):
    described = make_configuration._attributes(type(section))
    if described:
        assert described.keys() == {field.name for field in fields(section)}
        assert all(described.values())


@pytest.mark.parametrize(
    ("ramp", "formula"),
    [
        (Ramp(1.0), "1"),
        (Ramp(0.6, 0.002, 1.2), "min(1.2, 0.6 + 0.002 s)"),
        (Ramp(2.0, -1 / 150, 1.0), "max(1, 2 - s/150)"),
        (Ramp(1.0, -0.5, 0.5, 29), "max(0.5, 1 - 0.5 (s - 29))"),
    ],
)
def test_a_ramp_is_shown_as_its_formula(ramp, formula):
    assert make_configuration._formula(ramp) == formula


METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `((?:rest|actor|timing_s)/[^`]*)` \|(.*)\|$", METRICS_PAGE, re.MULTILINE)
# What stands for several names.
PLACES = {
    "region": [region.name.lower() for region in Region],
    "kind": ERRORS,
    "reason": REASONS,
    "component": [
        row.removeprefix("rest/reward/") for row, _ in ROWS if re.fullmatch("rest/reward/(?!score$).+", row)
    ],
}


def names_of(row):
    """The metrics that a row is about."""
    place = re.search(r"<(\w+)>", row)
    return [row.replace(place[0], value) for value in PLACES[place[1]]] if place else [row]


@pytest.fixture(scope="module")
def logged(tokenizer):
    return set(logged_metrics(tokenizer))


def test_each_metric_that_is_logged_has_one_row(logged):
    documented = [name for row, _ in ROWS for name in names_of(row)]
    assert len(documented) == len(set(documented))
    assert logged - set(documented) == set()


def test_each_row_is_about_metrics_that_are_logged(logged):
    assert {row for row, _ in ROWS if set(names_of(row)) - logged} == set()


@pytest.mark.parametrize(("row", "cells"), ROWS, ids=[row for row, _ in ROWS])
def test_each_row_says_unit_meaning_and_what_is_sound(row, cells):
    unit, meaning, sound, _ = (cell.strip() for cell in cells.split(" |"))
    assert unit and meaning and sound


def test_each_kind_of_error_and_each_reason_is_explained():
    explained = re.findall(r"`((?:tool_errors|ended_by)/\w+)`", METRICS_PAGE)
    assert sorted(explained) == sorted(
        [*(f"tool_errors/{one}" for one in ERRORS), *(f"ended_by/{one}" for one in REASONS)]
    )
