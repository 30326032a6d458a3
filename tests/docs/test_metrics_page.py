"""docs/metrics.md has a row for each metric that is logged, and none for another."""

import re

import pytest
from logged_metrics import logged_metrics
from page_blocks import ROOT

from rest_verl.core.regions import Region
from rest_verl.rollout.calls import ERRORS
from rest_verl.rollout.record import REASONS

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `((?:rest|actor|timing_s)/[^`]*)` \|(.*)\|$", PAGE, re.MULTILINE)
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
    explained = re.findall(r"`((?:tool_errors|ended_by)/\w+)`", PAGE)
    assert sorted(explained) == sorted(
        [*(f"tool_errors/{one}" for one in ERRORS), *(f"ended_by/{one}" for one in REASONS)]
    )
