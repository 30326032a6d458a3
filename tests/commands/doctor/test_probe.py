"""The process that imports what may be broken: its end is told, whatever ends it."""

import pytest
from command_line import one_error_line
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.commands.doctor.probe import Request, run_probe

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
