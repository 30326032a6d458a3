import pytest
from rich.console import Console
from trust import group


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where result files and the page are instead of in the project."""
    monkeypatch.setattr("sys.argv", ["benchmarks/faults.py", "--kills", "1"])
    monkeypatch.setattr(group, "PAGE", tmp_path / "trust.md")
    monkeypatch.setattr(group, "FOLDER", tmp_path)
    return tmp_path


def found(**changes):
    given = {"head": ["a", "b"], "rows": [["1", "2"]], "notes": ["one note"]} | changes
    return group.Group("faults", "Faults", "What was done.", **given)


def test_the_committed_page_is_what_the_committed_results_give():
    assert group.page() == group.PAGE.read_text()


def test_a_group_is_printed_and_stands_on_the_page_with_the_command_that_made_it(folder):
    console = Console(width=80, record=True)
    group.publish(found(), True, console)
    written = (folder / "trust.md").read_text()
    assert "## Faults\n\nWhat was done.\n\n`python benchmarks/faults.py --kills 1`: " in written
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n- one note\n" in written
    assert "one note" in console.export_text()


def test_without_write_nothing_is_kept(folder):
    group.publish(found(), False, Console(width=80, record=True))
    assert list(folder.iterdir()) == []


def test_groups_that_have_not_been_run_have_no_part(tmp_path):
    assert group.page(tmp_path) == group.INTRODUCTION + "\n"
