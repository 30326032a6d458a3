"""Writes docs/evidence.md, whole, from the result files: nothing in it is typed by hand, its verdicts least of all.

Each study has a module with two functions that return lines of Markdown: `section(result, images)`, its part of the
page, whose figures go into the folder `images`; and `not_held(result)`, what of the claims it does not bear out. A
study that has not been run has no part.

    python benchmarks/evidence_page.py      # the page again, from the committed result files
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence import learning_section, overhead_section, variance_section
from evidence.pictures import FOLDER as IMAGES
from evidence.results import FOLDER as RESULTS
from evidence.results import read_result

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
Section = Callable[[dict[str, Any], Path], list[str]]
NotHeld = Callable[[dict[str, Any]], list[str]]
SECTIONS: dict[str, tuple[Section, NotHeld]] = {
    "variance": (variance_section.section, variance_section.not_held),
    "learning": (learning_section.section, learning_section.not_held),
    "learning_cuda": (learning_section.section, learning_section.not_held),
    "learning_verl": (learning_section.section, learning_section.not_held),
    "overhead": (lambda result, images: overhead_section.section(result), overhead_section.not_held),
}
INTRODUCTION = """\
<!-- Written by benchmarks/evidence_page.py from benchmarks/results/: a change belongs there, or into a study. -->
# Evidence

The paper claims a policy gradient of lower variance, and faster learning by it. This page checks both, and what the
weights cost, with a small model that anyone can train on a CPU. Each part names the command that made it; the numbers
are in [`benchmarks/results/`](../benchmarks/results), and every verdict follows from its interval.

What it can say: whether the mechanism works, on a model of half a million parameters and a task with regions like
those of tool use. What it cannot: how large the effect is on language models of billions. Intervals are 95 %, by
bootstrap over paired seeds, batches or steps. The task is
[`benchmarks/evidence/task.py`](../benchmarks/evidence/task.py): sixteen tools, lists with distractors, second turns,
and combinations in validation that training never shows."""


def page(results: Path = RESULTS, images: Path = IMAGES) -> str:
    """The page as Markdown, from the result files that are there; its figures are drawn into `images`."""
    found = [(*SECTIONS[study], result) for study in SECTIONS if (result := read_result(study, results))]
    failed = [line for _, not_held, result in found for line in not_held(result)]
    parts = [INTRODUCTION]
    if failed:
        parts.append("\n".join(["## What did not hold, or was not decided", "", *failed]))
    parts += ["\n".join(section(result, images)).strip() for section, _, result in found]
    return "\n\n".join(parts) + "\n"


def write_page() -> None:
    """Write docs/evidence.md."""
    PAGE.write_text(page())
