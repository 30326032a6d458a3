"""`rest-verl export` on checkpoints that verl's own manager wrote from FSDP2 models on real ranks.

verl's merger runs in forks of a process that has imported it; tests/e2e/test_export_and_eval_on_cpu.py runs the whole
command, on one rank.
"""

import importlib.util
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import typer
from forked import forks_of
from peft import LoraConfig, PeftConfig
from ranks import LORA_ALPHA, LORA_RANK, lora_model, write_checkpoints
from safetensors.torch import load_file, save_file
from tiny_model import new_model, train_tokenizer
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from rest_verl.commands.export import checkpoint
from rest_verl.commands.export.checkpoint import ExportError, find_checkpoint
from rest_verl.commands.export.command import export
from rest_verl.commands.export.trial import serve_command, try_model

app = typer.Typer()
app.command()(export)

WHOLE, LORA, ADAPTER_ONLY, WEIGHTS = "whole", "lora", "adapter_only", "weights"


@pytest.fixture(scope="module", autouse=True)
def forked_merger(tmp_path_factory):
    """The command that `merge` starts, `python -m verl.model_merger ...`, in a fork."""
    folder = tmp_path_factory.mktemp("merger")

    def run(command, stdout, **_):
        assert command[1:3] == ["-m", "verl.model_merger"]
        done = forks.run(command[2], command[3:], folder)
        stdout.write((done.stdout + done.stderr).encode())
        return done

    with forks_of("verl.model_merger.fsdp_model_merger") as forks, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "subprocess", SimpleNamespace(run=run, DEVNULL=None))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer(["Hello, what is the weather in Zürich? "], 400)
    tokenizer.save_pretrained(folder)
    new_model(tokenizer, hidden=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def runs(base, tmp_path_factory):
    """Run folders of two ranks, each with step 3, by what was saved."""
    folder = tmp_path_factory.mktemp("runs of two ranks")
    made = {
        WHOLE: {},
        LORA: {"lora": True},
        ADAPTER_ONLY: {"lora": True, "save_lora_only": True},
        WEIGHTS: {"save_contents": ["hf_model"]},
    }
    actors = {folder / name / "global_step_3" / "actor": settings for name, settings in made.items()}
    write_checkpoints(base, actors, ranks=2, rendezvous=folder / "rendezvous")
    for name in made:
        (folder / name / "latest_checkpointed_iteration.txt").write_text("3")
    return {name: folder / name for name in made}


def exported(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def is_base(folder, base):
    """Whether every weight is the base model's, in bfloat16."""
    expected = AutoModelForCausalLM.from_pretrained(base).state_dict()
    found = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()
    return found.keys() == expected.keys() and all(
        torch.equal(weight, expected[name].bfloat16()) for name, weight in found.items()
    )


def test_shards_of_two_ranks_become_the_model_that_was_trained(runs, base, tmp_path):
    out = tmp_path / "a model"
    done = exported(runs[WHOLE], "--out", out)
    assert done.exit_code == 0, done.output
    assert is_base(out, base)
    assert done.stdout.splitlines()[-1] == f"vllm serve '{out}'"
    assert {path.name for path in tmp_path.iterdir()} == {"a model", "a model.log"}


@pytest.mark.release
def test_one_rank_has_one_shard(base, tmp_path):
    actor = tmp_path / "actor"
    write_checkpoints(base, {actor: {}}, ranks=1, rendezvous=tmp_path / "rendezvous")
    assert exported(actor, "--out", tmp_path / "out").exit_code == 0
    assert is_base(tmp_path / "out", base)


def test_a_lora_run_gives_its_base_model_and_the_adapter(runs, base, tmp_path):
    done = exported(runs[LORA], "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert is_base(tmp_path / "out", base)
    adapter = tmp_path / "out" / "lora_adapter"
    settings = PeftConfig.from_pretrained(adapter)
    assert (settings.r, settings.lora_alpha) == (LORA_RANK, LORA_ALPHA)
    trained = {
        name.replace(".default.weight", ".weight"): weight
        for name, weight in lora_model(base).state_dict().items()
        if "lora_" in name
    }
    found = load_file(adapter / "adapter_model.safetensors")
    assert found.keys() == trained.keys()
    assert all(torch.equal(weight, trained[name].bfloat16()) for name, weight in found.items())
    assert f"--enable-lora --lora-modules adapter={adapter}" in done.stdout


def test_an_adapter_alone_is_kept_and_said_to_need_its_base_model(runs, tmp_path):
    done = exported(runs[ADAPTER_ONLY], "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert load_file(tmp_path / "out" / "lora_adapter" / "adapter_model.safetensors")
    assert "vllm serve BASE_MODEL --enable-lora" in done.stdout and "not tried" in done.stdout


def test_weights_that_verl_saved_whole_are_copied_and_tried(runs, base, tmp_path):
    done = exported(runs[WEIGHTS], "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert is_base(tmp_path / "out", base)
    assert not (tmp_path / "out.log").exists()


def failure(*arguments):
    """The one line of a failed export."""
    done = exported(*arguments)
    assert done.exit_code == 1
    assert not done.stdout
    return done.stderr.removesuffix("\n")


def test_a_folder_with_something_in_it_is_left_alone(runs, tmp_path):
    (tmp_path / "mine").touch()
    assert failure(runs[WHOLE], "--out", tmp_path).endswith("choose another folder for --out, or remove it")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_shard_with_damage_inside_leaves_nothing_half_made(runs, tmp_path):
    """The command ends with the merger's last words."""
    actor = tmp_path / "actor"
    shutil.copytree(runs[WHOLE] / "global_step_3" / "actor", actor)
    torch.save({"weight": torch.zeros(2)}, actor / "model_world_size_2_rank_1.pt")
    line = failure(actor, "--out", tmp_path / "out")
    assert line.startswith("verl's merger failed: KeyError") and "\n" not in line
    assert str(tmp_path / "out.log") in line
    assert {path.name for path in tmp_path.iterdir()} == {"actor", "out.log"}


def test_a_weight_that_is_missing_is_found_by_loading(base, tmp_path):
    shutil.copytree(base, tmp_path / "model")
    weights = load_file(base / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError, match=r"missing keys: model\.norm\.weight"):
        try_model(tmp_path / "model")


def test_an_adapter_that_does_not_fit_is_found_by_loading(base, tmp_path):
    lora_model(base).save_pretrained(tmp_path / "lora_adapter")
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    assert try_model(tmp_path).parameters
    weights = tmp_path / "lora_adapter" / "adapter_model.safetensors"
    renamed = {name.replace("layers.1.", "layers.7."): weight for name, weight in load_file(weights).items()}
    save_file(renamed, weights, metadata={"format": "pt"})
    with (
        pytest.warns(UserWarning, match="missing adapter keys"),
        pytest.raises(ExportError, match=r"do not fit the model: .*layers\.1\..*layers\.7\."),
    ):
        try_model(tmp_path)


@pytest.mark.parametrize(("rank", "said"), [(16, ""), (17, " --max-lora-rank 32"), (64, " --max-lora-rank 64")])
def test_vllm_is_told_of_adapters_of_a_high_rank(rank, said, tmp_path):
    adapter = tmp_path / "lora_adapter"
    LoraConfig(r=rank).save_pretrained(adapter)
    expected = f"vllm serve {tmp_path} --enable-lora --lora-modules adapter={adapter}{said}"
    assert serve_command(tmp_path, has_base=True) == expected


def test_a_tool_that_verls_merger_needs_is_named_where_it_is_missing(base, tmp_path):
    shutil.copytree(base, tmp_path / "actor" / "model" / "huggingface", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "actor" / "model" / "dist_ckpt").mkdir()
    if importlib.util.find_spec("megatron") is not None:
        pytest.skip("Megatron is installed here")
    line = failure(tmp_path / "actor", "--out", tmp_path / "out")
    assert line.startswith("verl's merger failed: ModuleNotFoundError: No module named 'megatron'")


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
