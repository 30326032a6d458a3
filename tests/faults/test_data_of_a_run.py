"""A run whose data asks for another format, or names environments that nothing makes, is refused before it starts."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from rest_verl.commands.check.compose import DryRunError
from rest_verl.commands.check.run import dry_run
from rest_verl.config.rest import ConfigError
from rest_verl.data.data_set import Origin, write_data_set
from rest_verl.data.prompt import make_prompt
from rest_verl.data.rows import RowEnvironment, make_row
from rest_verl.formats import get_format
from rest_verl.plugin.run_checks import check_run
from rest_verl.plugin.run_data import asked_formats

TOOLS = [{"name": "look_up", "description": "Looks up.", "parameters": {}}]
FORMATS = [
    *("rlla", "hermes", "qwen3_coder", "llama3_json", "pythonic", "mistral", "glm", "kimi", "deepseek_v4"),
    *("minimax", "seed", "gpt-oss", "gemma4"),
]
# What the settings below are to a run with ResT's reward, in verl's own layout.
RUN = {
    "algorithm.adv_estimator": "rest",
    "trainer.use_v1": True,
    "trainer.v1.trainer_mode": "rest_sync",
    "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
    "actor_rollout_ref.rollout.agent.default_agent_loop": "single_turn_agent",
    "reward.reward_manager.name": "rest_tool",
    "reward.custom_reward_function.path": None,
    "data.prompt_key": "prompt",
    "data.val_files": [],
}
MULTI_TURN = {"actor_rollout_ref.rollout.agent.default_agent_loop": "rest_tool_agent"}
PLAIN = {
    "algorithm.adv_estimator": "grpo",
    "trainer.v1.trainer_mode": "sync",
    "reward.reward_manager.name": "naive",
}


def check(*settings):
    """Check a run before its start, as verl's validation does through the plugin."""
    config = OmegaConf.create()
    for key, value in {key: value for group in (RUN, *settings) for key, value in group.items()}.items():
        OmegaConf.update(config, key, value, force_add=True)
    check_run(config, ["grpo", "rest"])


def message(*settings):
    with pytest.raises(ConfigError) as error:
        check(*settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def rows(format, environment=None, source="own"):
    return [
        make_row(
            source,
            number,
            f"{source}_{number}",
            "train",
            make_prompt(TOOLS, [{"role": "user", "content": f"Q {number}"}], format),
            "<response> A </response>",
            environment,
        )
        for number in range(8)
    ]


def write(folder, made, format):
    write_data_set(made, 0.0, folder, Origin("bfcl", [], {"format": format}))
    return folder / "train.parquet"


@pytest.mark.parametrize("key", ["data.train_files", "data.val_files"])
def test_data_of_another_format_is_refused_by_its_manifest(tmp_path, key):
    """The manifest names the format that the prompts ask for (D4)."""
    made = rows("hermes")
    for row in made:
        row["prompt"] = row["prompt"][1:]  # nothing in the rows tells
    file = write(tmp_path, made, "hermes")
    said = message({"data.train_files": [], key: str(file), "rest.format": "qwen3_coder"})
    assert said.startswith(f"{key}={file}: its prompts ask for hermes")
    assert "set rest.format=hermes" in said and "rest-verl data bfcl --format qwen3_coder" in said
    check({"data.train_files": [], key: str(file), "rest.format": "hermes"})


@pytest.mark.parametrize("asked", FORMATS)
def test_data_of_another_format_is_refused_by_its_rows(tmp_path, asked):
    """Without a manifest, the example in the system message tells: it is a turn in its format."""
    file = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows(asked)), file)
    check({"data.train_files": [str(file)], "rest.format": asked})
    for format in set(FORMATS) - {asked}:
        said = message({"data.train_files": [str(file)], "rest.format": format})
        assert said.startswith(f"data.train_files={file}: the prompt of row 0 asks for {asked}")
        assert f"set rest.format={asked}" in said


def test_one_row_of_another_format_among_many_is_found(tmp_path):
    """Files of two formats in one, as somebody concatenates them."""
    file = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([*rows("rlla"), *rows("hermes")]), file)
    assert "the prompt of row 8 asks for hermes" in message({"data.train_files": str(file), "rest.format": "rlla"})


def test_prompts_of_ones_own_are_no_business_of_the_check(tmp_path):
    """A prompt without an example in a known format says nothing of its format."""
    file = tmp_path / "train.parquet"
    own = [make_row("own", 0, "a", "train", [{"role": "user", "content": "Q"}], "A")]
    own += [make_row("own", 1, "b", "train", [{"role": "system", "content": "**Output Format**\n```\nhm\n```"}], "A")]
    pq.write_table(pa.Table.from_pylist(own), file)
    check({"data.train_files": str(file), "rest.format": "kimi"})


def test_a_run_that_reads_no_format_takes_data_of_any(tmp_path):
    """Plain GRPO with a reward of one's own reads no calls."""
    file = write(tmp_path, rows("hermes"), "hermes")
    check(PLAIN, {"data.train_files": str(file)})
    message({"data.train_files": str(file)})


@pytest.mark.parametrize("name", FORMATS)
def test_an_example_is_of_its_own_format_alone(name):
    prompt = make_prompt(TOOLS, [{"role": "user", "content": "Q"}], name)
    assert asked_formats(prompt, {format: get_format(format) for format in FORMATS}) == [name]


SHOP = RowEnvironment("bfcl_multi_turn", {})


@pytest.mark.parametrize("loop", ["single_turn_agent", "tool_agent"])
def test_rows_with_an_environment_need_its_agent_loop(tmp_path, loop):
    """Under any other loop nothing answers a call and nothing scores the row (D4)."""
    file = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([*rows("rlla"), *rows("rlla", SHOP)]), file)
    verls = {"actor_rollout_ref.rollout.agent.default_agent_loop": loop, "data.train_files": str(file)}
    said = message({"reward.reward_manager.name": "naive"}, PLAIN, verls)
    assert said.startswith(f"data.train_files={file}: row 8 names the environment 'bfcl_multi_turn'")
    assert "add +rest/rollout=multi_turn" in said
    check({**MULTI_TURN, "data.train_files": str(file)})


def test_a_row_that_names_its_agent_loop_needs_no_default(tmp_path):
    """verl lets a row choose, in its column agent_name."""
    file = tmp_path / "train.parquet"
    named = [{**row, "agent_name": "rest_tool_agent"} for row in rows("rlla", SHOP)]
    pq.write_table(pa.Table.from_pylist(named), file)
    check({"data.train_files": str(file)})
    named[-1]["agent_name"] = "single_turn_agent"
    pq.write_table(pa.Table.from_pylist(named), file)
    assert "row 7 names the environment" in message({"data.train_files": str(file)})


def test_an_agent_loop_of_ones_own_may_know_environments(tmp_path):
    file = write(tmp_path, rows("rlla", SHOP), "rlla")
    check({"actor_rollout_ref.rollout.agent.default_agent_loop": "mine", "data.train_files": str(file)})


def test_an_environment_that_nobody_registered_is_refused(tmp_path):
    """Each trajectory would fail when its row is met."""
    file = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows("rlla", RowEnvironment("bfcl_multi_tern", {}))), file)
    said = message({**MULTI_TURN, "data.train_files": str(file)})
    assert "row 0: unknown environment 'bfcl_multi_tern': did you mean 'bfcl_multi_turn'?" in said
    assert "rest.modules" in said


def test_rows_with_an_environment_need_the_reward_that_reads_it(tmp_path):
    """verl's own managers would score the ground truth, or end at an unknown data source."""
    file = write(tmp_path, rows("rlla", SHOP), "rlla")
    said = message(PLAIN, MULTI_TURN, {"data.train_files": str(file)})
    assert "set reward.reward_manager.name=rest_tool" in said


@pytest.mark.parametrize("damage", ["no file", "no parquet", "a URL", "no manifest", "another manifest", "JSON lines"])
def test_data_that_cannot_be_read_here_is_left_to_verl(tmp_path, damage):
    """The check adds no error of its own: verl names such a file itself, or fetches it."""
    file = write(tmp_path, rows("hermes"), "hermes")
    manifest = tmp_path / "manifest.json"
    if damage == "no parquet":
        file.write_bytes(b"PAR1 and no more")
        manifest.unlink()
    elif damage == "no manifest":
        manifest.write_text("{")
        pq.write_table(pa.table({"text": ["a"]}), file)
    elif damage == "another manifest":
        manifest.write_text(json.dumps({"options": [], "sha256": {}}))
        pq.write_table(pa.table({"prompt": ["a"]}), file)
    elif damage == "JSON lines":
        file = tmp_path / "train.jsonl"
        file.write_text('{"prompt": "a"}\n')
    elif damage == "no file":
        file.unlink()
        manifest.unlink()
    check({"data.train_files": "hdfs://data/train.parquet" if damage == "a URL" else str(file)})


def test_a_dry_run_looks_at_code_files_and_data(tmp_path):
    """All of it at once, and what is left at verl's own is a note."""
    file = write(tmp_path / "data", rows("hermes"), "hermes")
    plain = ["actor_rollout_ref.rollout.name=vllm", "actor_rollout_ref.actor.use_dynamic_bsz=True"]
    with pytest.raises(DryRunError) as refused:
        dry_run([*plain, "+rest=paper", f"data.train_files={file}", "trainer.logger=consol"])
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        f"data.train_files={file}",
        "trainer.logger",
        "data.train_batch_size=1024",
    ]
    notes = dry_run([*plain, "algorithm.adv_estimator=gae", "critic.ppo_micro_batch_size_per_gpu=1"]).notes
    for key in ("data.train_files", "data.val_files", "actor_rollout_ref.model.path", "critic.model.path"):
        assert any(note.startswith(f"you have not set {key}: verl's default, ") for note in notes)
