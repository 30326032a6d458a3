"""The table "Ground truths in every format" of docs/formats.md is that of the present code."""

import re
import sys
from pathlib import Path

import bfcl_calls
import pytest
from tiers import in_full

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import make_formats  # noqa: E402

pytestmark = pytest.mark.skipif(bfcl_calls.MISSING is not None, reason=str(bfcl_calls.MISSING))


def listed():
    """By id, the formats in which the page says that a ground truth does not pass."""
    page = make_formats.PAGE.read_text(encoding="utf-8")
    table = page.partition(make_formats.BEGIN)[2].partition(make_formats.END)[0]
    found: dict[str, set[str]] = {}
    for formats, ids in re.findall(r"^- in ([^:]*): (.*)$", table, re.MULTILINE):
        named = set(make_formats.RENDERERS) if formats == "all formats" else set(re.findall("`([^`]*)`", formats))
        for id in re.findall("`([^`]*)`", ids):
            found.setdefault(id, set()).update(named)
    return found


def test_a_ground_truth_passes_wherever_the_page_does_not_list_it():
    known = listed()
    for format, sets in make_formats.matrix(in_full(60, 1)).items():
        for cells in sets.values():
            failing = {id for rules in make_formats.RULES for id in cells[rules]}
            assert {id for id in failing if format not in known.get(id, ())} == set()


@pytest.mark.release
@pytest.mark.skipif(not make_formats.SHARED.is_dir(), reason="ToolRL's rows are not part of this project")
def test_the_page_has_the_table_of_the_present_code():
    assert make_formats.page() == make_formats.PAGE.read_text(encoding="utf-8")
