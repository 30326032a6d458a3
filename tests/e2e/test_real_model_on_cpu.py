"""The pretrained model of examples/real_model_cpu.sh: fetched, converted, started for a few steps, trained in verl.

Only with `--all`: it fetches 93 MB and computes for half an hour. Without it, tests/examples checks conversion, start
and marks on tiny models, and the other files of this folder run verl with them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import run_recipe
from parts import text_of
from render import RENDERERS
from tiers import HANG_GUARD, VERL_UNHURRIED
from transformers import AutoTokenizer
from verl_run import read_metrics

from rest_verl.core.regions import RegionTagger
from rest_verl.formats import get_format
from rest_verl.records.schema import read_step, step_name

pytestmark = pytest.mark.release
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of two steps of eight questions, and the cache of the model."""
    out = tmp_path_factory.mktemp("real-model")
    options = ["--start-steps", "6", "--steps", "2", "--rows", "8", "--unseen", "12"]
    command = [sys.executable, EXAMPLES / "cpu" / "real_model.py", *options, "--cache", out / "models", "--out", out]
    path = os.pathsep.join(filter(None, [str(EXAMPLES / "turns"), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=4 * HANG_GUARD)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def folder(trained):
    return next((trained / "models").glob("*/checked.json")).parent


def test_the_folder_is_the_gguf_file(folder):
    checked = json.loads((folder / "checked.json").read_text())
    assert checked["difference"] < 0.2 and checked["same_first"] > 0.95


@pytest.mark.parametrize("format", RENDERERS)
def test_every_token_of_the_real_vocabulary_is_tagged(folder, format):
    """A token that touches a region has it; of two, the greater: by the labels of the bytes that were put together."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = RENDERERS[format](" Which? ", [("get.time", {"city": "Zürich", "hour": 12})], "")
    ids = tokenizer.encode(text_of(parts).decode(), add_special_tokens=False)
    labels = [region for text, region in parts for _ in text]
    tagger = RegionTagger(tokenizer, get_format(format))
    [found] = tagger(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)).tolist()
    position, expected = 0, []
    for token in ids:
        end = position + len(tokenizer.convert_ids_to_tokens(token))
        expected.append(max(labels[position:end]))
        position = end
    assert found == expected


def test_the_start_teaches_the_format(trained):
    started = json.loads((trained / "start-rlla-6" / "started.json").read_text())
    assert len(started["losses"]) == 6 and started["losses"][-1] < 0.7 * started["losses"][0]


def test_verl_trains_it_and_validates_on_unseen_questions(trained):
    [run] = trained.glob("start-rlla-6-credit-2x8-*")
    first, *steps = read_metrics(run / "verl" / "metrics.jsonl")
    assert any(key.startswith("val-core/bfcl_simple_python/") for key in first.metrics)
    assert [step.step for step in steps] == [1, 2]
    for step in steps:
        assert step.metrics["training/rollout_probs_diff_mean"] < 0.02
        assert read_step(run / "records" / step_name(step.step)).meta.trajectories == 8 * 4


def test_the_study_for_one_gpu_ends_in_a_table(trained, tmp_path):
    """Two presets with one seed, two steps, two questions a category; the second time nothing is repeated."""
    files = {"TRAIN_FILE": trained / "train.parquet", "VAL_FILE": trained / "validation.parquet"}
    asked = f"--only {files['VAL_FILE']} --limit 2 --categories simple_python,irrelevance"
    variables = {
        **{name: str(file) for name, file in files.items()},
        "PYTHON": sys.executable,
        "MODEL_PATH": str(trained / "start-rlla-6"),
        "VARIANTS": "grpo credit",
        "SEEDS": "0",
        "RESULTS": str(tmp_path / "results"),
        "SERVE": f"{sys.executable} -m rest_verl.cpu.serve_cpu",
        "EVAL": asked,
        "MAX_PROMPT": "384",
        "MAX_RESPONSE": "160",
    }
    small = [
        "+platform=cpu",
        *VERL_UNHURRIED,
        "data.train_batch_size=8",
        "actor_rollout_ref.actor.ppo_mini_batch_size=8",
        "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
        "trainer.total_training_steps=2",
        "trainer.save_freq=2",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        "trainer.logger=[console]",
    ]
    for _ in range(2):
        done = run_recipe("run_qwen2_5_1_5b_study.sh", *small, cwd=tmp_path, **variables)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        comparison = json.loads((tmp_path / "results" / "credit-against-grpo" / "comparison.json").read_text())
        assert comparison["scores"].keys() == {"bfcl_simple_python", "bfcl_irrelevance"}
    assert "== " not in done.stderr
