"""`rest-verl inspect` as a user runs it."""

import json
import re

import pytest
from command_line import one_error_line
from record_tables import Part, record, step_rows, write_step
from typer.testing import CliRunner

from rest_verl.cli import app


def inspect(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    for step in range(1, 15):
        write_step(tmp_path / "run" / "records", [record([Part("a b")])] * 3, step)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(folder)
    return folder


def test_a_run_becomes_a_page_and_what_was_left_out_is_said(run, tmp_path):
    done = inspect(run, "--out", tmp_path / "new" / "page.html", "--limit", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "steps         12 of 14 (--steps chooses): 1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14"
    assert lines[1] == "trajectories  24 of 36 (--limit chooses)"
    assert lines[2] == "tokens        48"
    assert "page.html (0.1 MB): open it in a browser" in "".join(lines[3:])
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "<title>run · rest-verl inspect</title>" in page
    assert done.stderr == ""


def test_wanted_steps_are_shown_and_nothing_more_is_said(run, tmp_path):
    done = inspect(run / "records", "--out", tmp_path / "page.html", "--steps", "14,1")
    assert done.stdout.startswith("steps         2 of 14 (--steps chooses): 1, 14\ntrajectories  6\n"), done.output
    assert "all" not in done.stdout


def test_a_missing_step_ends_without_a_page(run, tmp_path):
    error = one_error_line(inspect(run, "--out", tmp_path / "page.html", "--steps", "99"))
    assert error.startswith("--steps 99: there is no step 99; there are 1, 2,")
    assert not (tmp_path / "page.html").exists()


def test_a_wrong_table_is_named_with_its_file(tmp_path):
    write_step(tmp_path, [record([Part("a")], region=["nam"])], 7)
    error = one_error_line(inspect(tmp_path, "--out", tmp_path / "page.html"))
    assert "step_000007.parquet: unknown region 'nam'" in error


def test_texts_become_a_page_with_the_weights_of_each_wanted_step(model, tmp_path):
    (tmp_path / "texts.jsonl").write_text(json.dumps({"response": "<think>So.</think>Fine."}) + "\n")
    options = ["--tokenizer", model, "--format", "hermes", "--at-step", "1,100,300", "--out", tmp_path / "page.html"]
    done = inspect(tmp_path / "texts.jsonl", *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("steps         1, 100, 300\ntrajectories  3\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{texts}"], "is a file of texts: it needs --tokenizer MODEL and --format NAME"),
        (["{texts}", "--tokenizer", "{model}"], "it needs --tokenizer MODEL and --format NAME"),
        (["{texts}", "{texts}", "--tokenizer", "{model}", "--format", "hermes"], "2 paths are given: name one"),
        (["{texts}", "--tokenizer", "nowhere", "--format", "hermes"], "--tokenizer nowhere: no such folder"),
        (
            ["{texts}", "--tokenizer", "{texts_folder}", "--format", "hermes"],
            "--tokenizer .*: transformers cannot load",
        ),
        (["{texts}", "--tokenizer", "{model}", "--format", "hermse"], "did you mean 'hermes'?"),
        (["{texts}", "--tokenizer", "{model}", "--format", "hermes", "--preset", "entropy"], "use --preset paper"),
        (
            ["{texts}", "--tokenizer", "{model}", "--format", "hermes", "--steps", "1"],
            "--steps has no effect here: use --at-step for texts",
        ),
        (
            ["{texts}", "--tokenizer", "{model}", "--format", "hermes", "--at-step", "0"],
            "--at-step 0: must be step",
        ),
        (["{run}", "--tokenizer", "{model}"], "--tokenizer has no effect here: it is for a .jsonl file of texts"),
        (["{run}", "--preset", "static"], "--preset has no effect here: it is for a .jsonl file"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(run, model, tmp_path, options, message):
    (tmp_path / "texts.jsonl").write_text('{"response": "a"}\n')
    names = {"texts": tmp_path / "texts.jsonl", "model": model, "run": run, "texts_folder": tmp_path}
    done = inspect(*(option.format(**names) for option in options), "--out", tmp_path / "page.html")
    assert re.search(message.replace("?", r"\?"), one_error_line(done))


def test_the_records_of_real_dialogues_fit_into_a_small_page(tmp_path):
    write_step(tmp_path, step_rows(1, groups=8, group_size=4), 1)
    assert inspect(tmp_path, "--out", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").stat().st_size < 400_000
