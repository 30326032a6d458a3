"""`rest-verl eval score`, `compare` and `export-bfcl`, on answers that were saved."""

import json
from dataclasses import replace

import pytest
import typer
from command_line import one_error_line
from saved_answers import answers_to, right_texts
from typer.testing import CliRunner

from rest_verl.data.data_set import file_source
from rest_verl.eval.answers import load_answers, save_answers
from rest_verl.eval.manifest import Run, begin_run
from rest_verl.eval.questions import apibank_questions, bfcl_questions
from rest_verl.eval.score_commands import compare, export_bfcl, score

app = typer.Typer()
app.command()(score)
app.command()(compare)
app.command("export-bfcl")(export_bfcl)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def apibank(tmp_path):
    """A file of API-Bank with 30 questions."""
    path = tmp_path / "level1.json"
    answer = {"name": "f", "parameters": {"x": 1}}
    path.write_text(json.dumps([{"system": "s", "user": f"u{number}", "answer": answer} for number in range(30)]))
    return path


def saved(path, questions, right):
    """Answers to all questions, of which the first so many are right."""
    path.parent.mkdir(exist_ok=True)
    texts = [right_texts(question) if number < right else ["?"] for number, question in enumerate(questions)]
    save_answers(
        path, [one for question, text in zip(questions, texts, strict=True) for one in answers_to(question, text)]
    )
    return path


def test_saved_answers_are_scored_without_an_endpoint_and_compared(apibank, tmp_path):
    questions = apibank_questions([apibank])
    for name, right in (("base", 6), ("other", 21)):
        file = saved(tmp_path / name / "answers.jsonl", questions, right)
        done = run("score", file, "--format", "rlla", "--apibank", apibank)
        assert done.exit_code == 0, done.output
        assert f"{100 * right / 30:.2f}" in done.stdout
        assert "2 parts not asked" in done.stdout
    done = run("compare", tmp_path / "base", tmp_path / "other", "--out", tmp_path / "both")
    assert done.exit_code == 0, done.output
    assert "better" in done.stdout
    report = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert report["scores"]["apibank_level1"]["mean"] == pytest.approx(0.5)


def test_runs_with_several_answers_are_compared_by_pass_measures(apibank, tmp_path):
    """Each of 30 questions is answered twice: 10 right both times in the one run, 20 once in the other."""
    questions = apibank_questions([apibank])
    for name, right in (("steady", (10, 10)), ("lucky", (20, 0))):
        for seed, count in enumerate(right):
            saved(tmp_path / f"{name}{seed}.jsonl", questions, count)
        answers = [
            replace(answer, seed=seed)
            for seed in range(2)
            for answer in load_answers(tmp_path / f"{name}{seed}.jsonl")
        ]
        save_answers(tmp_path / name / "answers.jsonl", answers)
        done = run("score", tmp_path / name / "answers.jsonl", "--format", "rlla", "--apibank", apibank)
        assert done.exit_code == 0, done.output
        assert "pass@2" in done.stdout and "pass^2" in done.stdout
    for measure, difference in (("pass@2", 1 / 3), ("pass^2", -1 / 3)):
        done = run("compare", tmp_path / "steady", tmp_path / "lucky", "--measure", measure, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        report = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert report["measure"] == measure
        assert report["scores"]["apibank_level1"]["mean"] == pytest.approx(difference)
    error = one_error_line(run("compare", tmp_path / "steady", tmp_path / "lucky", "--measure", "pass@3"))
    assert "pass@3 needs 3 answers to each question and apibank_level1 has 2" in error


def run_of(folder, file):
    """A whole run on a file of API-Bank, of which half is answered right."""
    questions = apibank_questions([file])
    begin_run(
        folder,
        Run(
            benchmark="apibank",
            sources=[file_source(file)],
            categories=[],
            level=None,
            limit=None,
            questions=len(questions),
            format="rlla",
            template=None,
            model="tiny",
            seeds=1,
            temperature=0.0,
            top_p=1.0,
            max_tokens=64,
            stop=[],
            extra_body={},
            rest_verl="0",
        ),
    )
    saved(folder / "answers.jsonl", questions, 15)
    return folder


def test_a_run_is_scored_again_by_its_own_settings(apibank, tmp_path):
    folder = run_of(tmp_path / "run", apibank)
    done = run("score", folder, "--apibank", apibank)
    assert done.exit_code == 0, done.output
    report = json.loads((folder / "scores.json").read_text())
    assert report["model"] == "tiny" and report["settings"]["max_tokens"] == 64
    assert report["categories"]["apibank_level1"]["mean"] == 0.5


def test_a_run_is_not_scored_with_other_questions(apibank, tmp_path):
    folder = run_of(tmp_path / "run", apibank)
    assert "give the same files with --apibank" in one_error_line(run("score", folder))
    apibank.write_text(apibank.read_text().replace("u3", "u4"))
    assert "give the same files with --apibank" in one_error_line(run("score", folder, "--apibank", apibank))


def test_several_runs_of_each_model_are_compared_together(apibank, tmp_path):
    questions = apibank_questions([apibank])
    for name, right in (("a1", 6), ("a2", 9), ("b1", 20), ("b2", 26)):
        file = saved(tmp_path / name / "answers.jsonl", questions, right)
        assert run("score", file, "--format", "rlla", "--apibank", apibank).exit_code == 0
    folders = {name: tmp_path / name for name in ("a1", "a2", "b1", "b2")}
    more = ["--more-base", folders["a2"], "--more-other", folders["b2"], "--out", tmp_path / "out"]
    done = run("compare", folders["a1"], folders["b1"], *more)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert report["base"]["runs"] == report["other"]["runs"] == 2
    assert report["scores"]["apibank_level1"]["mean"] == pytest.approx((20 + 26 - 6 - 9) / 60)


def test_only_the_first_questions_of_each_category_may_be_answered(apibank, tmp_path):
    file = saved(tmp_path / "a" / "answers.jsonl", apibank_questions([apibank], limit=5), 5)
    error = one_error_line(run("score", file, "--format", "rlla", "--apibank", apibank))
    assert "25 of 30 conversations are incomplete" in error
    done = run("score", file, "--format", "rlla", "--apibank", apibank, "--limit", 5, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["categories"]["apibank_level1"]["mean"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--apibank", "level1.json"], "--format is required"),
        (["--format", "rla", "--apibank", "level1.json"], "did you mean 'rlla'"),
        (["--format", "rlla"], "answers to apibank_level1; if API-Bank's, give its files: --apibank FILE"),
    ],
)
def test_what_is_missing_is_said_in_one_line(apibank, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path / "a" / "answers.jsonl", apibank_questions([apibank]), 5)
    assert said in one_error_line(run("score", file, *options))


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert "run.json: no such file" in one_error_line(run("score", tmp_path))
    assert "score the run first" in one_error_line(run("compare", tmp_path, tmp_path))
    assert "the run in" in one_error_line(run("score", tmp_path, "--format", "rlla"))


def test_answers_are_exported_by_seed(tmp_path):
    pytest.importorskip("bfcl_eval", reason="needs BFCL's data")
    questions = bfcl_questions(["multiple"], limit=2)
    file = saved(tmp_path / "answers.jsonl", questions, 2)
    out = tmp_path / "out"
    done = run("export-bfcl", file, "--format", "rlla", "--limit", 2, "--out", out)
    assert done.exit_code == 0, done.output
    path = out / "Qwen_Qwen3-8B-FC" / "non_live" / "BFCL_v4_multiple_result.json"
    assert [json.loads(line)["id"] for line in path.open()] == [question.id for question in questions]
    assert "bfcl evaluate --model Qwen/Qwen3-8B-FC" in done.stdout
    error = one_error_line(run("export-bfcl", file, "--format", "rlla", "--out", out, "--seed", 3))
    assert "has answers with the seeds 0" in error
