"""What commands say of files that are something else, of addresses, and when they are stopped: one line."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from command_line import one_error_line
from tiers import HANG_GUARD
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.eval.endpoint import check_url


def run_command(*arguments):
    return one_error_line(CliRunner().invoke(app, list(map(str, arguments))))


BINARY = [b"\x00\x01\x02\xff\xfe", b"\x80PNG no end of line", b"PAR1\x15\x04\n\xff\xfe\n", b"a text, and no more"]


@pytest.mark.parametrize("content", BINARY)
def test_a_file_that_is_no_log_is_called_so(tmp_path, content):
    """`plot` asked to try again after the first step."""
    (tmp_path / "run.bin").write_bytes(content)
    said = run_command("plot", tmp_path / "run.bin", "--out", tmp_path / "plot")
    assert said.startswith(f"{tmp_path / 'run.bin'}:1: not a log of verl: expected ")


@pytest.mark.parametrize("content", [b"", b'{"st', b'{"step":1,"data":{'])
def test_a_log_that_has_only_begun_has_no_step(tmp_path, content):
    (tmp_path / "run.jsonl").write_bytes(content)
    assert "no step is logged yet" in run_command("plot", tmp_path / "run.jsonl", "--out", tmp_path / "plot")


@pytest.mark.parametrize("content", BINARY)
@pytest.mark.parametrize("options", [[], ["--format", "hermes"]])
def test_a_file_that_is_no_answers_is_called_so(tmp_path, content, options):
    """`eval score` asked to ask first, or for a format."""
    (tmp_path / "a.bin").write_bytes(content)
    said = run_command("eval", "score", tmp_path / "a.bin", *options)
    assert said.startswith(f"{tmp_path / 'a.bin'}: not answers: expected ")


def test_json_given_for_parquet_is_called_so(tmp_path):
    """`data check` thought it cut short."""
    (tmp_path / "rows.json").write_text('[{"prompt": "a"}]')
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path / "rows.json")])
    assert done.exit_code == 1
    assert "this is JSON; `rest-verl data rlla FILE --out FOLDER` makes a parquet file" in done.output


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("notaurl", "http://localhost:8000/v1"),
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("10.0.0.1/v1", "http://10.0.0.1/v1"),
        ("ftp://host/v1", "http://localhost:8000/v1"),
        ("http://", "http://localhost:8000/v1"),
        ("http://host:port/v1", "http://localhost:8000/v1"),
        ("http://my host/v1", "http://localhost:8000/v1"),
        ("", "http://localhost:8000/v1"),
    ],
)
def test_what_is_no_url_is_said_at_once(tmp_path, url, hint):
    """Nine retries took 39 s; here no question is read either."""
    said = run_command("eval", "bfcl", "--out", tmp_path, "--base-url", url)
    assert said == f"--base-url {url}: not a URL: give one such as {hint}\n"


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "https://[::1]:8000/v1", "http://host"])
def test_a_url_is_taken(url):
    check_url(url)


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_ctrl_c_while_importing_ends_without_a_word(tmp_path, module):
    """A traceback of imports says nothing to whoever pressed it."""
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "rest_verl", "--help"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=HANG_GUARD,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_the_installed_command_is_the_one_that_is_tried():
    (command,) = entry_points(group="console_scripts", name="rest-verl")
    assert command.value == "rest_verl.__main__:main"
