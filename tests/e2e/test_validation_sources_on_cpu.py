"""One run on files of all makers at once: every data source has its own scorer, in training and in validation."""

import json
from pathlib import Path

import pytest
import tiny_model
from typer.testing import CliRunner

from rest_verl.bfcl.data.files import bfcl_folder
from rest_verl.cli import app
from rest_verl.data.data_set import write_parquet
from rest_verl.data.rows import Row, right_answer

PROMPT_TOKENS, RESPONSE_TOKENS = 1024, 160
ROWS = 8  # of each data source

SYSTEM = """You may call tools.

**Available Tools**
1. Name: {name}
Description: Looks something up.
Parameters: {{"{key}": {{"type": "str"}}}}"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The rows that `rest-verl data` makes of ToolRL's and API-Bank's layout and of BFCL's own questions."""
    try:
        bfcl_folder()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("sources")
    asked = [(f"Look{i}", f"key{i}", f"value {i}") for i in range(3 * ROWS)]
    toolrl, apibank = [], []
    for name, key, value in asked:
        system, call = SYSTEM.format(name=name, key=key), {"name": name, "parameters": {key: value}}
        answer = f"<think> t </think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
        toolrl.append({"system": system, "user": f"Find {value}.", "output": answer})
        apibank.append({"system": system, "user": f"Please find {value}.", "answer": call, "other": {"id": value}})
    (folder / "toolrl.json").write_text(json.dumps(toolrl))
    (folder / "level2.json").write_text(json.dumps(apibank))
    made = {
        "rlla": ["rlla", str(folder / "toolrl.json"), "--validation-share", "0.5"],
        "apibank": ["apibank", str(folder / "level2.json")],
        "bfcl": ["bfcl", "--category", "simple_python", "--category", "irrelevance", "--validation-share", "1.0"],
    }
    for name, command in made.items():
        done = CliRunner().invoke(app, ["data", *command, "--out", str(folder / name)])
        assert done.exit_code == 0, done.output
    checked = CliRunner().invoke(app, ["data", "check", *map(str, folder.glob("*/*.parquet"))])
    assert checked.exit_code == 0, checked.output
    return folder


def read(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


@pytest.fixture(scope="module")
def run(train, data, tmp_path_factory):
    """A step under the rules `strict`; a tiny model takes the shortest questions."""
    folder = tmp_path_factory.mktemp("run")
    rows = [row for name in ("rlla", "apibank", "bfcl") for row in read(data / name / "validation.parquet")]
    by_source: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: sum(len(message["content"]) for message in row["prompt"])):
        by_source.setdefault(row["data_source"], []).append(row)
    shortest = {source: found[:ROWS] for source, found in by_source.items()}
    texts = [m["content"] for found in shortest.values() for row in found for m in row["prompt"]]
    training = read(data / "rlla" / "train.parquet")
    answers = [right_answer(row) for row in training]
    tokenizer = tiny_model.train_tokenizer(texts + answers, 2000)
    model = tiny_model.new_model(tokenizer, hidden=64, max_positions=PROMPT_TOKENS + RESPONSE_TOKENS)
    demonstrations = [(row["prompt"], answer) for row, answer in zip(training, answers, strict=True)]
    tiny_model.train_model(model, tokenizer, demonstrations, steps=60)
    tiny_model.save(model, tokenizer, folder / "model")
    for source, found in shortest.items():
        write_parquet(found, folder / f"{source}.parquet")
    files = ",".join(str(folder / f"{source}.parquet") for source in shortest)
    overrides = [
        "+rest=paper",
        "+rest/reward=strict",
        f"data.train_files=[{data / 'rlla' / 'train.parquet'},{folder / 'bfcl_simple_python.parquet'}]",
        f"data.val_files=[{files}]",
        f"actor_rollout_ref.model.path={folder / 'model'}",
        f"data.max_prompt_length={PROMPT_TOKENS}",
        f"data.max_response_length={RESPONSE_TOKENS}",
        f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
        "trainer.val_before_train=False",
        "trainer.test_freq=1",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]
    return train(overrides, folder / "verl", 1)


SOURCES = ["rlla", "apibank_level2", "bfcl_simple_python", "bfcl_irrelevance"]


@pytest.mark.parametrize("source", SOURCES)
def test_each_data_source_has_an_accuracy_of_its_own(run, source):
    assert 0 <= run[-1].metrics[f"val-core/{source}/acc/mean@1"] <= 1
    assert run[-1].metrics[f"val-aux/{source}/skipped/mean@1"] == 0
    assert run[-1].metrics[f"val-aux/{source}/response_tokens/mean@1"] > 0


def test_a_scorers_own_component_is_reported_for_its_source_alone(run):
    found = [key for key in run[-1].metrics if "/acc_hard/" in key]
    assert found and all(key.startswith("val-aux/apibank_level2/") for key in found)


def test_rows_of_two_makers_are_trained_on_together(run):
    assert run[-1].metrics["rest/reward/skipped"] == 0
    assert -4 <= run[-1].metrics["rest/reward/score"] <= 4
