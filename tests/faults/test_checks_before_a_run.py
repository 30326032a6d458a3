"""What would end a run minutes after its start is told by a dry run: code, files and names that only workers open."""

from copy import deepcopy

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from rest_verl.commands.check.code import code_problems
from rest_verl.commands.check.compose import compose_run
from rest_verl.commands.check.files import file_problems


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
