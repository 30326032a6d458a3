"""What would end a run minutes after its start, or train something else, is refused before it: by a dry run, and
where the plugin is asked, by the run itself."""

import json
from copy import deepcopy

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from rest_verl.commands.check.code import code_problems
from rest_verl.commands.check.compose import DryRunError, compose_run
from rest_verl.commands.check.files import file_problems
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


@pytest.fixture(scope="module")
def verls():
    """verl's config of a run with ResT; composing it takes a second."""
    config, _ = compose_run(["+rest=paper", "actor_rollout_ref.rollout.name=vllm", "trainer.logger=console"])
    return config


@pytest.fixture
def said(verls, tmp_path, monkeypatch):
    """Function from overrides of that config to the problems of its code and files, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def problems(**settings):
        config = deepcopy(verls)
        for key, value in settings.items():
            OmegaConf.update(config, KEYS[key], value, force_add=True, merge=False)
        return [*code_problems(config), *file_problems(config)]

    assert problems() == []
    return problems


ROLLOUT = "actor_rollout_ref.rollout"
KEYS = {
    "reward_path": "reward.custom_reward_function.path",
    "reward_name": "reward.custom_reward_function.name",
    "old_reward_path": "custom_reward_function.path",
    "old_reward_name": "custom_reward_function.name",
    "dataset_path": "data.custom_cls.path",
    "dataset_name": "data.custom_cls.name",
    "manager_source": "reward.reward_manager.source",
    "manager_path": "reward.reward_manager.module.path",
    "manager_name": "reward.reward_manager.name",
    "callback": "trainer.checkpoint_callback_class",
    "external_lib": "actor_rollout_ref.model.external_lib",
    "tools": f"{ROLLOUT}.multi_turn.tool_config_path",
    "functions": f"{ROLLOUT}.multi_turn.function_tool_path",
    "loops": f"{ROLLOUT}.agent.agent_loop_config_path",
    "loop": f"{ROLLOUT}.agent.default_agent_loop",
    "train": "data.train_files",
    "val": "data.val_files",
    "model": "actor_rollout_ref.model.path",
    "tokenizer": "actor_rollout_ref.model.tokenizer_path",
    "lora": "actor_rollout_ref.model.lora_adapter_path",
    "template": "actor_rollout_ref.model.custom_chat_template",
    "critic": "critic.model.path",
    "estimator": "algorithm.adv_estimator",
    "checkpoints": "trainer.default_local_dir",
    "rollouts": "trainer.rollout_data_dir",
    "records": "rest.dump_dir",
    "resume": "trainer.resume_mode",
    "resume_from": "trainer.resume_from_path",
    "logger": "trainer.logger",
}
REWARD = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1.0\n"


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (
            REWARD,
            {"reward_path": "rewardz.py"},
            "path=rewardz.py: no such file: did you mean reward.py?",
        ),
        (REWARD, {"reward_path": "~/reward.py"}, "verl does not expand ~"),
        (REWARD, {"reward_path": "."}, "a folder: give a file in it"),
        (REWARD, {"reward_path": "reward.py", "reward_name": "score"}, "name: unknown name 'score'"),
        (REWARD, {"reward_path": "reward.py", "reward_name": "compute_scores"}, "did you mean 'compute_score'?"),
        ("import nothing_there\n", {"reward_path": "reward.py"}, "No module named 'nothing_there' ("),
        ("x = (\n", {"reward_path": "reward.py"}, "SyntaxError"),
        ("\n1 / 0\n", {"reward_path": "reward.py"}, "ZeroDivisionError: division by zero ("),
        ("compute_score = 3\n", {"reward_path": "reward.py"}, "but it is 3: name a function or a class"),
        (REWARD, {"reward_path": "reward.py"}, None),
        (
            REWARD,
            {"old_reward_path": "gone.py", "old_reward_name": "compute_score"},
            "custom_reward_function.path=gone",
        ),
        (REWARD, {"dataset_path": "reward.py", "dataset_name": "Rows"}, "data.custom_cls.name: unknown name 'Rows'"),
        (REWARD, {"dataset_path": "reward.py"}, "data.custom_cls.name has no value"),
        (REWARD, {"manager_path": "gone.py"}, None),
        (REWARD, {"manager_source": "importlib", "manager_path": "gone.py"}, "reward_manager.module.path=gone.py"),
        (REWARD, {"callback": "reward.Saved"}, "checkpoint_callback_class=reward.Saved: unknown class 'Saved'"),
        (REWARD, {"callback": "Saved"}, "expected the whole name of a class"),
        (REWARD, {"external_lib": "gone_lib"}, "model.external_lib=gone_lib: ModuleNotFoundError"),
        (REWARD, {"external_lib": ["json", "gone_lib"]}, "model.external_lib=gone_lib: ModuleNotFoundError"),
    ],
)
def test_code_of_ones_own_is_loaded_before_the_run(said, tmp_path, text, settings, expected):
    """A wrong file or name ended the run when its workers looked, after Ray, the model and the engines (D5)."""
    (tmp_path / "reward.py").write_text(text)
    found = said(**settings)
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


TOOL = "tools:\n  - class_name: {}\n    config: {{type: {}}}\n"
FUNCTION = '''
from verl.tools.function_tool import function_tool
@function_tool
def {}(city: str) -> str:
    """Look up.

    Args:
        city: where.
    """
    return city
'''


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("tools.yaml", None, "tool_config_path=tools.yaml: no such file"),
        ("tools.yaml", "tools: [", "not YAML"),
        ("tools.yaml", "tool: []\n", "expected a key 'tools' with a list"),
        ("tools.yaml", "tools: [{class_name: a.B}]\n", "tools[0]: expected class_name, and config with type: native"),
        ("tools.yaml", TOOL.format("gone.Tool", "native"), "tools[0].class_name=gone.Tool: ModuleNotFoundError"),
        ("tools.yaml", TOOL.format("verl.tools.base_tool.Base", "native"), "did you mean 'BaseTool'?"),
        ("tools.yaml", TOOL.format("verl.tools.base_tool.BaseTool", "mcp"), "verl has only native tools"),
        ("tools.yaml", TOOL.format("verl.tools.base_tool.BaseTool", "native"), None),
        ("tools.yaml", TOOL.format("verl.tools.base_tool.BaseTool", "native") + "    tool_schema: {a: 1}\n", "schema"),
        ("functions.py", None, "function_tool_path=functions.py: no such file"),
        ("functions.py", "x = 1\n", "has no tool: decorate"),
        ("functions.py", "1 / 0\n", "ZeroDivisionError"),
        ("functions.py", FUNCTION.format("look_up_at_start"), None),
    ],
)
def test_files_of_tools_are_read_before_the_run(said, tmp_path, file, text, expected):
    """verl's data set drops tools that it cannot load with a warning, and its agent loops raise (D5)."""
    if text is not None:
        (tmp_path / file).write_text(text)
    found = said(**{"tools" if file.endswith("yaml") else "functions": file})
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


@pytest.mark.parametrize(
    ("text", "loop", "expected"),
    [
        (None, "mine", "agent_loop_config_path=loops.yaml: no such file"),
        ("name: mine\n", "mine", "expected a list"),
        ("- name: mine\n", "mine", "[0]: expected name and _target_"),
        ("- {name: mine, _target_: gone.Loop}\n", "mine", "[0]._target_=gone.Loop: ModuleNotFoundError"),
        ("- {name: mine, _target_: json.JSONDecoder}\n", "mines", "unknown agent loop 'mines': did you mean 'mine'?"),
        ("- {name: mine, _target_: json.JSONDecoder}\n", "mine", None),
        ("- {name: mine, _target_: json.JSONDecoder}\n", "rest_tool_agent", None),
    ],
)
def test_a_file_of_agent_loops_is_read_before_the_run(said, tmp_path, text, loop, expected):
    if text is not None:
        (tmp_path / "loops.yaml").write_text(text)
    found = said(loops="loops.yaml", loop=loop)
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


@pytest.mark.parametrize("key", ["train", "val"])
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.parquet", b"", "the file is empty (0 bytes)"),
        ("a.parquet", b"PAR1 cut", "not a complete parquet file"),
        ("a.parquet", b'[{"prompt": []}]', "this is JSON; `rest-verl data rlla FILE --out FOLDER`"),
        ("a.parquet", b"\xef\xbb\xbf\n {}", "this is JSON"),
        ("a.parquet", b"id,prompt\n1,x\n", "not a parquet file"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.csv", b"id,prompt\n", "expected one that ends in .parquet"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b'{"prompt": "x"}\n', None),
    ],
)
def test_data_that_verl_cannot_read_is_found_before_the_run(said, tmp_path, key, name, content, expected):
    (tmp_path / name).write_bytes(content)
    found = said(**{key: name})
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


def test_data_is_missed_where_its_like_is(said, tmp_path):
    """A file that is not there may come yet, but a folder with others of its kind tells of a typing error."""
    assert said(train="data/train.parquet", val=["data/validation.parquet"]) == []
    pq.write_table(pa.table({"prompt": ["a"], "text": ["b"]}), tmp_path / "train.parquet")
    assert "did you mean train.parquet?" in said(train="trian.parquet")[0]
    assert "its folder has train.parquet" in said(val="zzz.parquet")[0]
    assert f"such as {tmp_path / 'train.parquet'}" in said(train=str(tmp_path))[0]
    assert said(train="train.parquet") == []
    pq.write_table(pa.table({"question": ["a"]}), tmp_path / "train.parquet")
    assert "no column 'prompt' (data.prompt_key), only question" in said(train="train.parquet")[0]
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "train.parquet")
    assert "the file has no rows" in said(val="train.parquet")[0]


MODEL = ("config.json", "tokenizer.json", "model.safetensors")


@pytest.mark.parametrize(
    ("key", "names", "expected"),
    [
        ("model", MODEL, None),
        ("model", MODEL[1:], "no config.json in it"),
        ("model", ("config.json", "model.safetensors"), "no tokenizer in it"),
        ("model", MODEL[:2], "no weights in it"),
        ("model", ("actor/config.json",), "a checkpoint of verl, not a model: export it"),
        ("tokenizer", ("config.json",), "no tokenizer in it"),
        ("lora", ("adapter_model.safetensors",), "no adapter_config.json"),
        ("lora", ("adapter_config.json",), None),
    ],
)
def test_a_folder_that_is_no_model_is_found_before_the_run(said, tmp_path, key, names, expected):
    for name in names:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).touch()
    found = said(**{key: "model"})
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


def test_a_models_file_and_a_template_in_a_file_are_refused(said, tmp_path):
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    assert "expected the text of a template, not a file" in said(template="chat.jinja")[0]
    assert said(template="{{ messages }}") == []
    assert "a file: give the folder of the model" in said(model="chat.jinja")[0]


def test_a_critics_model_counts_only_with_a_critic(said, tmp_path):
    (tmp_path / "empty").mkdir()
    assert said(critic="empty") == []
    assert "critic.model.path=empty: no config.json" in said(critic="empty", estimator="gae")[0]


@pytest.mark.parametrize("key", ["checkpoints", "rollouts", "records"])
def test_a_folder_that_cannot_be_written_is_found(said, tmp_path, key, monkeypatch):
    """A run found out at its first checkpoint, dump or record."""
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is a file: choose another folder" in said(**{key: str(tmp_path / "file" / "x")})[0]
    assert "is a file" in said(**{key: "file"})[0]
    assert said(**{key: "new/folder"}) == []
    (tmp_path / "there").mkdir()
    monkeypatch.setattr("os.access", lambda *_: False)
    elsewhere = {"checkpoints": "/another_machine/new"}  # whose default is below the working folder
    assert f"{KEYS[key]}=there: cannot be written: choose another folder" in said(**elsewhere | {key: "there"})
    (made,) = said(**elsewhere | {key: "there/new"})
    assert "there/new: cannot be made, since" in made
    assert said(**elsewhere | {key: "/another_machine/new"}) == []
    assert said(**elsewhere | {key: "hdfs://host/new"}) == []


@pytest.mark.parametrize(
    ("mode", "path", "expected"),
    [
        ("resume", None, "unknown mode 'resume': did you mean 'resume_path'?"),
        ("resume_path", None, "set trainer.resume_from_path to a folder global_step_N"),
        ("resume_path", "runs/last", "expected a folder whose name is global_step_N"),
        ("resume_path", "runs/global_step_5", "no actor/ in it"),
        ("resume_path", "runs/global_step_6", "no such folder; there are global_step_5"),
        ("auto", "runs/global_step_5", "is read only with trainer.resume_mode=resume_path"),
        ("auto", None, None),
        ("resume_path", "elsewhere/global_step_5", None),
    ],
)
def test_a_resume_that_cannot_be_is_found_before_the_run(said, tmp_path, mode, path, expected):
    (tmp_path / "runs" / "global_step_5").mkdir(parents=True)
    found = said(resume=mode, resume_from=path)
    assert found == [] if expected is None else len(found) == 1 and expected in found[0]


@pytest.mark.parametrize(("given", "wrong"), [("consol", 1), (["console", "wnadb"], 1), (["file", "tensorboard"], 0)])
def test_an_unknown_logger_is_found_before_the_run(said, given, wrong):
    found = said(logger=given)
    assert len(found) == wrong
    assert all("trainer.logger: unknown logger " in problem and "did you mean" in problem for problem in found)


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
