"""Writes docs/evidence.md, whole, from the result files: nothing in it is typed by hand, its verdicts least of all.

Each study has a module with a function `section(result) -> list[str]`: its part of the page as lines of Markdown; it
may draw figures into docs/images/. A study that has not been run has no section.

    python benchmarks/evidence_page.py      # the page again, from the committed result files
"""

from __future__ import annotations

from pathlib import Path

from evidence import learning_section, overhead_section, variance_section
from evidence.results import FOLDER as RESULTS
from evidence.results import read_result

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
SECTIONS = {
    "variance": variance_section.section,
    "learning": learning_section.section,
    "learning_verl": learning_section.section,
    "overhead": overhead_section.section,
}
INTRODUCTION = """\
<!-- Written by benchmarks/evidence_page.py from benchmarks/results/: a change belongs there, or into a study. -->
# Evidence

The paper claims a policy gradient of lower variance, and faster learning by it. This page checks both, and what the
weights cost, with a small model that anyone can train on a CPU. Each part names the command that made it; the numbers
are in [`benchmarks/results/`](../benchmarks/results), and every verdict follows from its interval.

What it can say: whether the mechanism works, on a model of half a million parameters and a task with regions like
those of tool use. What it cannot: how large the effect is on language models of billions. Intervals are 95 %, by
bootstrap over paired seeds or batches. The task is
[`benchmarks/evidence/task.py`](../benchmarks/evidence/task.py): sixteen tools, lists with distractors, second turns,
and combinations in validation that training never shows."""


def page(results: Path = RESULTS) -> str:
    """The page as Markdown, from the result files that are there. Figures are drawn anew."""
    parts = [INTRODUCTION]
    for study, section in SECTIONS.items():
        result = read_result(study, results)
        if result is not None:
            parts.append("\n".join(section(result)).strip())
    return "\n\n".join(parts) + "\n"


def write_page() -> None:
    """Write docs/evidence.md."""
    PAGE.write_text(page())
