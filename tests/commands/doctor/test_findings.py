"""What a finding is, how a report shows it, and the process that imports what may be broken: its end is told."""

import io

import pytest
from command_line import one_error_line
from rich.console import Console
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.commands.doctor.command import findings_table, verdict
from rest_verl.commands.doctor.findings import Finding, Level, can_start, catch_errors, error_line
from rest_verl.commands.doctor.probe import Request, run_probe


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


REQUEST = Request(tokenizer=None, format="rlla", use_worker=False)


@pytest.fixture
def with_torch(tmp_path, monkeypatch):
    """Function that puts a module `torch` with some code before the real one, in every process started from here."""

    def write(code):
        (tmp_path / "torch.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return write


def test_an_import_that_crashes_is_told_with_its_signal_and_its_last_words(with_torch, tmp_path):
    with_torch("import os, sys\nprint('undefined symbol', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 11)")
    stages = []
    (finding,) = run_probe(REQUEST, tmp_path / "log", stages.append)
    assert (finding.group, finding.level) == ("machine", "failure")
    assert finding.found == "its process died with SIGSEGV; last output: undefined symbol"
    assert str(tmp_path / "log") in finding.remedy and stages == ["machine"]


def test_an_import_that_hangs_is_ended_after_the_time_limit(with_torch, tmp_path):
    with_torch("import time\ntime.sleep(600)")
    (finding,) = run_probe(REQUEST, tmp_path / "log", lambda stage: None, seconds=3)
    assert finding.level == "failure" and finding.found.startswith("no answer in 3 s")


def test_an_unknown_format_is_one_line_before_anything_is_looked_at():
    done = CliRunner().invoke(app, ["doctor", "--format", "herms"])
    assert "unknown wire format 'herms': did you mean 'hermes'?" in one_error_line(done)
