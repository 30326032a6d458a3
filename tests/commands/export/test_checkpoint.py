"""Which checkpoint is meant, and whether all of it is there, from the layouts that verl writes."""

import json

import pytest
import torch

from rest_verl.commands.export.checkpoint import ExportError, find_checkpoint


def fsdp(actor, ranks=2):
    """A folder as FSDP leaves it: the smallest shards that are whole."""
    (actor / "huggingface").mkdir(parents=True)
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": ranks}))
    for rank in range(ranks):
        torch.save({"weight": torch.zeros(1000)}, actor / f"model_world_size_{ranks}_rank_{rank}.pt")
    return actor


@pytest.fixture
def run(tmp_path):
    for step in (3, 20):
        fsdp(tmp_path / f"global_step_{step}" / "actor")
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("20")
    return tmp_path


def test_a_run_means_its_newest_complete_step_unless_another_is_chosen(run):
    assert find_checkpoint(run).actor == run / "global_step_20" / "actor"
    assert find_checkpoint(run, step=3).actor == run / "global_step_3" / "actor"


def test_a_step_and_its_actor_mean_the_same(run):
    step = run / "global_step_3"
    assert find_checkpoint(step) == find_checkpoint(step / "actor")
    with pytest.raises(ExportError, match="--step 20 chooses among the steps of a run"):
        find_checkpoint(step, step=20)


@pytest.mark.parametrize(("step", "written"), [(7, "20"), (None, "7"), (None, "")])
def test_a_step_that_is_not_there_is_answered_by_those_that_are(run, step, written):
    (run / "latest_checkpointed_iteration.txt").write_text(written)
    with pytest.raises(ExportError, match="3, 20"):
        find_checkpoint(run, step)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ExportError, match="no such folder"):
        find_checkpoint(tmp_path / "absent")
    with pytest.raises(ExportError, match="holds no checkpoint"):
        find_checkpoint(tmp_path)
    (tmp_path / "global_step_1" / "critic").mkdir(parents=True)
    with pytest.raises(ExportError, match="holds no policy"):
        find_checkpoint(tmp_path, step=1)


def test_a_missing_shard_is_named(tmp_path):
    actor = fsdp(tmp_path / "actor", ranks=8)
    (actor / "model_world_size_8_rank_5.pt").unlink()
    with pytest.raises(ExportError, match=r"1 of 8 shards missing: model_world_size_8_rank_5\.pt"):
        find_checkpoint(actor)


@pytest.mark.parametrize("left", [0, 100, 3000])
def test_a_shard_that_is_broken_off_is_named(tmp_path, left):
    shard = fsdp(tmp_path / "actor") / "model_world_size_2_rank_1.pt"
    assert shard.stat().st_size > 3000
    with shard.open("r+b") as stream:
        stream.truncate(left)
    with pytest.raises(ExportError, match=r"1 of 2 shards truncated or damaged: model_world_size_2_rank_1\.pt"):
        find_checkpoint(shard.parent)


@pytest.mark.parametrize("content", ["", "{}", '{"world_size": "two"}', "[]"])
def test_a_broken_fsdp_config_is_named(tmp_path, content):
    actor = fsdp(tmp_path / "actor")
    (actor / "fsdp_config.json").write_text(content)
    with pytest.raises(ExportError, match=r"fsdp_config\.json has no world_size"):
        find_checkpoint(actor)


def test_megatrons_folder_with_weights_needs_no_merger_and_shards_need_the_config(tmp_path):
    model = tmp_path / "actor" / "model" / "huggingface"
    model.mkdir(parents=True)
    with pytest.raises(ExportError, match="neither dist_ckpt nor a huggingface folder"):
        find_checkpoint(tmp_path)
    (model.parent / "dist_ckpt").mkdir()
    with pytest.raises(ExportError, match=r"copy the trained model's config\.json and tokenizer"):
        find_checkpoint(tmp_path)
    (model / "config.json").write_text("{}")
    assert find_checkpoint(tmp_path).kind == "megatron"
    (model / "model.safetensors").write_bytes(b"")
    assert find_checkpoint(tmp_path).kind == "weights"
