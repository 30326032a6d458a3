"""Numbers of the hand-written pages are those of the result files, and the choice of a preset rests on them."""

import re
from pathlib import Path

from page_numbers import refresh

DOCS = Path(__file__).parents[2] / "docs"
CHOICE = (DOCS / "algorithm.md").read_text().partition("## Which preset to begin with")[2].partition("\n## ")[0]
EVIDENCE = (DOCS / "evidence.md").read_text()


def test_no_page_quotes_a_stale_number():
    """Else: python benchmarks/page_numbers.py."""
    assert refresh(write=False) == []


def test_every_interval_behind_the_choice_is_in_the_evidence():
    quoted = re.findall(r"[+-]\d\.\d{3} \[[^\]]+\]", CHOICE)
    assert len(quoted) == 5
    assert [interval for interval in quoted if interval not in EVIDENCE] == []


def test_every_ratio_of_variances_is_in_the_evidence():
    ratios = re.findall(r"\b(\d\.\d\d)\b times", CHOICE) + re.findall(r"has (\d\.\d\d) times", CHOICE)
    assert len(set(ratios)) == 3
    assert [ratio for ratio in ratios if f"{ratio} [" not in EVIDENCE] == []


def test_the_preset_to_begin_with_is_the_quickstarts():
    assert "`+rest=entropy_adaptive`, which the quickstart uses" in CHOICE
    script = (DOCS.parent / "examples" / "cpu" / "quickstart.py").read_text()
    assert '] = "entropy_adaptive",' in script
