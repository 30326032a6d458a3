from evidence import document, results


def test_the_page_is_what_the_committed_results_give(tmp_path):
    assert document.page(images=tmp_path) == document.PAGE.read_text()
    shown = sorted(path.name for path in tmp_path.iterdir())
    assert shown == sorted(path.name for path in (document.PAGE.parent / "images").glob("evidence_*.png"))


def test_a_study_that_has_not_been_run_has_no_section(tmp_path):
    assert document.page(tmp_path, tmp_path) == document.INTRODUCTION + "\n"


def test_a_result_file_says_what_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["somewhere/benchmarks/variance.py", "--jobs", "2"])
    results.write_result("variance", {"seed": 1}, "a card", tmp_path)
    found = results.read_result("variance", tmp_path)
    assert found["seed"] == 1 and results.read_result("learning", tmp_path) is None
    assert found["made_by"].keys() == {"command", "machine", "device", "date"}
    assert (found["made_by"]["command"], found["made_by"]["device"]) == (
        "python benchmarks/variance.py --jobs 2",
        "a card",
    )
