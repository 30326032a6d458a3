"""What a finding is, and how a report shows it."""

import io

import pytest
from rich.console import Console

from rest_verl.commands.doctor.command import findings_table, verdict
from rest_verl.commands.doctor.findings import Finding, Level, can_start, catch_errors, error_line


@pytest.mark.parametrize(("level", "remedy"), [(Level.OK, "do this"), (Level.WARNING, ""), (Level.FAILURE, "")])
def test_a_remedy_belongs_to_what_is_not_fine_and_only_to_that(level, remedy):
    with pytest.raises(ValueError, match="a remedy"):
        Finding("group", "check", "found", level, remedy)


def test_warnings_keep_no_run_from_starting_and_failures_do():
    warning = Finding("g", "c", "f", Level.WARNING, "r")
    assert can_start([warning]) and not can_start([warning, Finding("g", "c", "f", Level.FAILURE, "r")])


def test_an_error_is_one_line_with_the_line_of_code_that_raised_it():
    with pytest.raises(KeyError) as error:
        {}["two\nlines"]
    assert error_line(error.value).startswith("KeyError: 'two\\nlines' (")
    assert "test_findings.py:" in error_line(error.value) and error_line(error.value).endswith('{}["two\\nlines"])')


def test_what_raises_becomes_a_failure_and_keeps_what_was_found_before():
    def look():
        yield Finding("g", "first", "there")
        raise OSError("gone")

    first, second = catch_errors("g", "second", "put it back", look)
    assert (first.check, second.level, second.remedy) == ("first", "failure", "put it back")
    assert second.found.startswith("OSError: gone")


def test_the_table_says_the_level_in_words_and_takes_no_text_for_markup():
    out = io.StringIO()
    hostile = Finding("names", "policy loss", "[/red] :boom: [bold", Level.FAILURE, "mend [it]")
    Console(file=out, width=80).print(findings_table([Finding("versions", "verl", "0.9.1"), hostile]))
    shown = out.getvalue()
    assert "ok" in shown and "failure" in shown
    assert "[/red] :boom: [bold" in shown and "-> mend [it]" in shown


def test_the_last_line_counts_what_is_wrong():
    assert verdict(True, 0, 0) == "A run can start."
    assert verdict(True, 0, 1) == "A run can start; 1 warning."
    assert verdict(False, 2, 3) == "No run can start: 2 failures; 3 warnings."
