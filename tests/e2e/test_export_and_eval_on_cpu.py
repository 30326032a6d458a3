"""From checkpoint to table: exported, served by vLLM, asked BFCL's questions, killed on the way and asked again."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiers import HANG_GUARD

from rest_verl.bfcl.data.files import bfcl_folder

REST_VERL = Path(sys.executable).with_name("rest-verl")
QUESTIONS = 12  # of each category
CATEGORIES = "simple_python,multiple"


@pytest.fixture(scope="module")
def model(quickstart, tmp_path_factory):
    """The model that the quickstart has trained, from its shard alone: whole weights beside it would be copied."""
    folder = tmp_path_factory.mktemp("export")
    out, checkpoints = folder / "model", folder / "checkpoints"
    shutil.copytree(quickstart.checkpoints, checkpoints, ignore=shutil.ignore_patterns("*.safetensors"))
    done = subprocess.run(
        [str(REST_VERL), "export", str(checkpoints), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=HANG_GUARD,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"vllm serve {out}" in re.sub(r"[\s│]+", " ", done.stdout).replace("- ", "-")
    return out


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    """The model behind vLLM's own server: (its address, its log)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("served") / "vllm.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1"}
    options = ["--port", str(port), "--dtype", "float32", "--enforce-eager", "--gpu-memory-utilization", "0.1"]
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [sys.executable, "-m", "rest_verl.cpu.serve_cpu", str(model), *options],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + HANG_GUARD
        while not answers(f"{url}/models"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        yield url, log
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def asked(log):
    """Chat completions that the server has answered."""
    return log.read_text(errors="replace").count("/v1/chat/completions")


def evaluation(url, out, *options):
    """The command that asks the questions, two at a time, so that little is under way at any moment."""
    try:
        bfcl_folder()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    wanted = ["--categories", CATEGORIES, "--limit", str(QUESTIONS), "--max-tokens", "64", "--concurrency", "2"]
    return [str(REST_VERL), "eval", "bfcl", *wanted, "--base-url", url, "--out", str(out), *options]


def test_the_exported_model_is_the_one_that_was_trained(quickstart, model):
    whole = load_file(quickstart.checkpoints / "global_step_2" / "actor" / "huggingface" / "model.safetensors")
    found = load_file(model / "model.safetensors")
    assert whole.keys() == found.keys()
    assert all(found[name].equal(weight.bfloat16()) for name, weight in whole.items())


def test_an_interrupted_evaluation_asks_only_the_rest(served, tmp_path):
    """And gives what a whole one gives, asked and scored."""
    url, log = served
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = subprocess.run(evaluation(url, whole), capture_output=True, text=True, timeout=HANG_GUARD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"answers.jsonl", "run.json", "scores.json", "scores.md", "scores.png"} <= {p.name for p in whole.iterdir()}
    lines = (whole / "answers.jsonl").read_text().splitlines()
    assert len(lines) == 2 * QUESTIONS
    assert any(json.loads(line)["text"] for line in lines)

    interrupted = subprocess.Popen(evaluation(url, broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    there = broken / "answers.jsonl"
    while not (there.exists() and there.read_bytes().count(b"\n") >= QUESTIONS):
        assert interrupted.poll() is None, "it ended before it was half way"
        time.sleep(0.01)
    interrupted.kill()
    interrupted.wait()
    time.sleep(2)  # until the server has answered, or dropped, what was under way
    written, before = there.read_bytes().count(b"\n"), asked(log)
    assert QUESTIONS <= written < 2 * QUESTIONS
    done = subprocess.run(evaluation(url, broken), capture_output=True, text=True, timeout=HANG_GUARD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert asked(log) - before == 2 * QUESTIONS - written
    assert there.read_bytes() == (whole / "answers.jsonl").read_bytes()
