"""`rest-verl eval bfcl` and `apibank` as a user runs them, against a server on this machine."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import one_error_line
from scripted_endpoint import ScriptedEndpoint, turn
from tiers import HANG_GUARD
from typer.testing import CliRunner

from rest_verl.eval.answers import load_answers
from rest_verl.eval.commands import app
from rest_verl.eval.questions import bfcl_questions

COMMAND = [sys.executable, "-c", "from rest_verl.eval.commands import app; app()"]
ROOT = Path(__file__).parents[2]

real_data = pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None,
    reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23",
)


@pytest.fixture
def file(tmp_path):
    rows = [
        {"system": "Tools.", "user": f"Find {number}.", "answer": {"name": "Find", "parameters": {"what": number}}}
        for number in range(12)
    ]
    (tmp_path / "level1.json").write_text(json.dumps(rows))
    return tmp_path / "level1.json"


def find(body):
    """Right for every number below 10."""
    number = int(body["messages"][-1]["content"].removeprefix("Find ").rstrip("."))
    return turn(("Find", {"what": min(number, 9)}))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # tests that were started in the background ignore it, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_apibank_asks_scores_and_writes_everything(file, tmp_path):
    out = tmp_path / "out"
    with ScriptedEndpoint(find) as server:
        done = run("apibank", file, "--out", out, "--base-url", server.url, "--seeds", 2, "--temperature", 1)
    assert done.exit_code == 0, done.output
    assert "apibank_level1" in done.stdout and "83.33" in done.stdout
    assert done.stderr == ""  # no terminal, no progress bar
    assert len(load_answers(out / "answers.jsonl")) == 24
    settings = json.loads((out / "run.json").read_text())
    assert settings["model"] == "tiny" and settings["questions"] == 12 and settings["seeds"] == 2
    assert server.url not in (out / "run.json").read_text()  # where it ran is no part of what was asked
    assert json.loads((out / "scores.json").read_text())["answers"]["requests"] == 24


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_asks_nothing_twice_and_ends_with_the_same_file(file, tmp_path, end):
    options = [file, "--concurrency", 1, "--seeds", 2, "--temperature", 1]
    with ScriptedEndpoint(find) as server:
        assert run("apibank", *options, "--out", tmp_path / "whole", "--base-url", server.url).exit_code == 0
    with ScriptedEndpoint(find) as server:
        server.hold_after = 9
        process = start("apibank", *options, "--out", tmp_path / "parts", "--base-url", server.url)
        assert server.held.wait(HANG_GUARD)
        os.kill(process.pid, end)
        _, error = process.communicate(timeout=HANG_GUARD)
        first = list(server.answered)
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert error.count("\n") == 1 and "rerun the same command to resume" in error
    assert len(load_answers(tmp_path / "parts" / "answers.jsonl")) == 9
    with ScriptedEndpoint(find) as server:
        assert run("apibank", *options, "--out", tmp_path / "parts", "--base-url", server.url).exit_code == 0
    assert len(first) == 9 and len(server.answered) == 15
    assert not [body for body in first if body in server.answered]
    for name in ("answers.jsonl", "run.json", "scores.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_run_is_not_taken_up_with_other_settings_and_the_difference_is_named(file, tmp_path):
    out = tmp_path / "out"
    with ScriptedEndpoint(find) as server:
        options = ["apibank", file, "--out", out, "--base-url", server.url]
        assert run(*options, "--limit", 2).exit_code == 0
        error = one_error_line(run(*options, "--limit", 2, "--top-p", 0.5, "--max-tokens", 7))
        assert "top_p 1.0 there, 0.5 here" in error and "max_tokens 4096 there, 7 here" in error
        file.write_text(file.read_text().replace("Find 0.", "Find 1."))
        assert "sha256" in one_error_line(run(*options, "--limit", 2))
    assert len(server.answered) == 2


def test_answers_of_no_run_are_not_added_to(file, tmp_path):
    (tmp_path / "answers.jsonl").touch()
    with ScriptedEndpoint(find) as server:
        error = one_error_line(run("apibank", file, "--out", tmp_path, "--base-url", server.url))
    assert "answers.jsonl without run.json" in error


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--seeds", 2], "--seeds 2: with --temperature 0 all seeds give the same answers; set a temperature"),
        (["--extra-body", "{"], "--extra-body '{': not JSON"),
        (["--extra-body", "3"], "--extra-body '3': must be a JSON object"),
        (["--api-key-file", "absent.txt"], "absent.txt"),
        (["--level", 7], "level 7 does not exist"),
    ],
)
def test_options_that_do_not_do_are_one_line(file, tmp_path, options, error):
    assert error in one_error_line(run("apibank", file, "--out", tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", [[], ["--model", "tiny"]])
def test_an_endpoint_that_is_not_there_ends_the_command_at_once(file, tmp_path, model, monkeypatch):
    """It is looked for once, without the retries of a run."""
    monkeypatch.setattr("rest_verl.eval.commands._ask", None)
    done = run("apibank", file, "--out", tmp_path / "out", "--base-url", "http://127.0.0.1:1/v1", *model)
    error = one_error_line(done)
    assert "--base-url http://127.0.0.1:1/v1: nothing answers there" in error and "vllm serve MODEL" in error
    assert not (tmp_path / "out").exists()


def test_a_url_of_something_else_says_what_one_looks_like(file, tmp_path):
    with ScriptedEndpoint(find) as server:
        done = run("apibank", file, "--out", tmp_path / "out", "--base-url", server.url.removesuffix("/v1"))
    error = one_error_line(done)
    assert "no list of models there" in error and "looks like http://localhost:8000/v1" in error


def test_an_api_key_is_sent_and_written_nowhere(file, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    with ScriptedEndpoint(find) as server:
        done = run(
            "apibank", file, "--out", tmp_path / "out", "--base-url", server.url, "--api-key-file", tmp_path / "key"
        )
    assert done.exit_code == 0 and server.keys == {"Bearer secret"}
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").iterdir())


@real_data
def test_bfcl_asks_the_named_categories_single_turn_and_multi_turn(tmp_path):
    with ScriptedEndpoint(lambda body: turn(said="I cannot.")) as server:
        done = run(
            "bfcl",
            "--categories",
            "multi_turn_base,irrelevance, simple_python",
            "--limit",
            2,
            "--out",
            tmp_path,
            "--base-url",
            server.url,
        )
    assert done.exit_code == 0, done.output
    settings = json.loads((tmp_path / "run.json").read_text())
    assert settings["categories"] == ["simple_python", "irrelevance", "multi_turn_base"]
    scores = json.loads((tmp_path / "scores.json").read_text())["categories"]
    assert {source: scores[source]["mean"] for source in scores} == {
        "bfcl_simple_python": 0,
        "bfcl_irrelevance": 1,
        "bfcl_multi_turn_base": 0,
    }
    prompts = {json.dumps(body["messages"]) for body in server.answered}
    assert len(prompts) == len(server.answered) == len(load_answers(tmp_path / "answers.jsonl")) > 6


@real_data
def test_bfcl_asks_only_the_questions_of_a_file_and_scores_them(tmp_path):
    """The third question of a category is asked although the limit is 1: the limit counts the chosen ones."""
    ids = ["irrelevance_2", "irrelevance_3", "multiple_7"]
    (tmp_path / "validation.json").write_text(json.dumps([{"extra_info": {"id": one}} for one in ids]))
    chosen = ["bfcl", "--only", tmp_path / "validation.json", "--categories", "irrelevance", "--limit", 1]
    with ScriptedEndpoint(lambda body: turn(said="I cannot.")) as server:
        done = run(*chosen, "--out", tmp_path / "out", "--base-url", server.url)
    assert done.exit_code == 0, done.output
    assert [one.id for one in load_answers(tmp_path / "out" / "answers.jsonl")] == ["irrelevance_2"]
    (tmp_path / "validation.json").unlink()
    again = run("score", tmp_path / "out", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "again" / "scores.json").read_text())["categories"]["bfcl_irrelevance"]["mean"] == 1
    with pytest.raises(ValueError, match="none of the 1 questions that were chosen is in multiple"):
        bfcl_questions(["multiple"], only=ids[:1])


@real_data
def test_bfcl_refuses_unknown_categories_and_options_that_contradict_each_other(tmp_path):
    assert "did you mean 'simple_python'" in one_error_line(
        run("bfcl", "--categories", "simple_pyton", "--out", tmp_path)
    )
    done = run("bfcl", "--categories", "multiple", "--multi-turn", "--out", tmp_path)
    assert "omit --multi-turn" in one_error_line(done)


@pytest.mark.parametrize("missing", ["openai", "matplotlib"])
def test_a_missing_extra_is_named_before_anything_is_asked(file, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with ScriptedEndpoint(find) as server:
        done = run("apibank", file, "--out", tmp_path / "out", "--base-url", server.url)
    assert "pip install 'rest-verl[eval]'" in one_error_line(done)
    assert server.answered == [] and not (tmp_path / "out").exists()


def test_all_commands_are_in_the_help():
    done = run("--help")
    assert all(name in done.stdout for name in ("bfcl", "apibank", "score", "compare", "export-bfcl"))


def test_the_help_is_quick_since_nothing_heavy_is_imported():
    code = "import sys, rest_verl.eval.commands; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"openai", "torch", "numpy", "pyarrow", "pydantic", "matplotlib"} & set(done.stdout.split())
