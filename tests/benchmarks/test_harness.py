"""The harness: resumption, result files, and the numbers that pages quote."""

import json
from functools import partial

import pytest
import typer
from harness import Study, known, read_result, seeds, table, write_result
from page_numbers import refresh

RESULT = {
    "verdicts": {"paper": {"estimate": -0.0094, "low": -0.0291, "high": 0.0061, "verdict": "undecided"}, "held": True},
    "pieces": {"after 0 updates": {"sizes": [12, 1234]}},
    "tables": {"runs": {"head": ["run", "s"], "rows": [["a", 1], ["b", 2.5]]}},
}


def count(calls, key):
    calls.append(key)
    return {"key": key}


def test_a_stopped_study_resumes_with_its_unfinished_pieces(tmp_path):
    calls = []
    work = {key: partial(count, calls, key) for key in "abc"}
    with pytest.raises(ZeroDivisionError):
        Study("one", {"n": 1}, tmp_path).run({"a": work["a"], "b": lambda: 1 / 0})
    assert Study("one", {"n": 1}, tmp_path).run(work) == {key: {"key": key} for key in "abc"}
    assert calls == ["a", "b", "c"]
    Study("one", {"n": 1}, tmp_path, fresh=True).run({"a": work["a"]})
    assert calls == ["a", "b", "c", "a"]


def test_pieces_of_another_plan_are_refused(tmp_path):
    Study("one", {"n": (1, 2)}, tmp_path).run({"a": dict})
    Study("one", {"n": (1, 2)}, tmp_path)
    with pytest.raises(typer.BadParameter, match="another plan"):
        Study("one", {"n": (1, 3)}, tmp_path)


def test_pieces_run_in_processes_too(tmp_path):
    study = Study("one", {}, tmp_path)
    assert study.run({"a": partial(max, 1, 2), "b": partial(max, 3, 4)}, jobs=1) == {"a": 2, "b": 4}


def test_a_result_says_what_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["somewhere/benchmarks/variance.py", "--jobs", "2"])
    study = Study("one", {"n": 1}, tmp_path, device="a card")
    study.run({"a": lambda: 3})
    study.finish({"verdicts": {"more": 1}, "tables": {"t": table(["x"], [[1]])}})
    found = read_result("one", tmp_path)
    assert found["made_by"]["command"] == "python benchmarks/variance.py --jobs 2"
    assert found["made_by"]["machine"].endswith("a card") and found["made_by"]["seconds"] >= 0
    assert (found["plan"], found["pieces"], found["verdicts"]) == ({"n": 1}, {"a": 3}, {"more": 1})


def test_a_result_file_has_a_line_for_each_record(tmp_path):
    runs = {f"run {at}": {"seed": at, "curve": [[step, 0.125] for step in range(40)]} for at in range(3)}
    write_result(tmp_path / "one.json", {"runs": runs})
    text = (tmp_path / "one.json").read_text()
    assert json.loads(text) == {"runs": runs}
    assert len(text.splitlines()) == 3 + 4  # and the two braces around them


def test_a_page_gets_stored_numbers_and_a_stale_one_is_named(tmp_path):
    write_result(tmp_path / "one.json", RESULT)
    page = tmp_path / "page.md"
    page.write_text(
        "first\n<!--= one.verdicts.paper:+.3f -->old<!--/-->, <!--= one.verdicts.paper.verdict -->undecided<!--/-->\n"
        "<!--= one.pieces.after 0 updates.sizes.1:, --><!--/-->, <!--= one.verdicts.held -->no<!--/-->\n"
        "<!--| one.tables.runs -->\n<!--/-->\n"
    )
    found = refresh([tmp_path / "page.md"], tmp_path, write=False)
    assert "old" in page.read_text()
    assert str(found[0]) == f"{page}:2: one.verdicts.paper is '-0.009 [-0.029, +0.006]', and the page says 'old'"
    assert [int(line.split(":")[1]) for line in found] == [2, 3, 3, 4]
    refresh([tmp_path / "page.md"], tmp_path)
    assert refresh([tmp_path / "page.md"], tmp_path, write=False) == []
    assert "-->1,234<!--/-->, <!--= one.verdicts.held -->yes<!--/-->" in page.read_text()
    assert "-->\n| run | s |\n| --- | --- |\n| a | 1 |\n| b | 2.5 |\n<!--/-->\n" in page.read_text()


@pytest.mark.parametrize("key", ["two.x", "one.verdicts.paper.mean", "one.pieces.after 0 updates.sizes.7"])
def test_a_key_that_leads_nowhere_is_refused(tmp_path, key):
    write_result(tmp_path / "one.json", RESULT)
    (tmp_path / "page.md").write_text(f"<!--= {key} -->1<!--/-->")
    with pytest.raises(KeyError):
        refresh([tmp_path / "page.md"], tmp_path)


def test_seeds_are_independent_and_fewer_are_the_first_of_many():
    drawn = [seed for study in (0, 1) for step in (0, 15, 40) for seed in seeds(48, study, step)]
    assert len(set(drawn)) == len(drawn)
    assert seeds(4, 0, 15) == seeds(48, 0, 15)[:4]


def test_unknown_names_are_refused():
    assert known("b, a,b", "letter", ["a", "b"]) == ["b", "a"]
    with pytest.raises(typer.BadParameter, match="unknown letter 'c'"):
        known("a,c", "letter", ["a", "b"])
