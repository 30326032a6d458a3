"""Every recipe passes the dry run, says what it claims, and stands up to paths with spaces and to several nodes.

What a wrong override is told is tested in tests/faults/test_messages.py, on the command itself.
"""

import json
import re
import shutil
import sys
from functools import cache

import pytest
from command_line import FOLDER, RECIPES, all_runs, run_recipe, runs_of

from rest_verl.commands.check.run import dry_run

MULTI_NODE, STUDY = "run_qwen3_4b_rest_multi_node.sh", "run_qwen2_5_1_5b_study.sh"
PRESET_KEYS = {
    "algorithm.adv_estimator",
    "trainer.v1.trainer_mode",
    "actor_rollout_ref.actor.policy_loss.loss_mode",
    "rest.apply_in",
    "rest.weights_from",
    "rest.normalisation",
    "trainer.experiment_name",
    "trainer.default_local_dir",
}


@cache
def passed(*overrides):
    return dry_run(overrides)


def differences(overrides):
    return {difference.key: difference.value for difference in passed(*overrides).differences}


@pytest.mark.parametrize(("name", "index", "overrides"), all_runs(), ids=lambda value: str(value)[:40])
def test_every_run_of_every_recipe_is_one_that_verl_and_we_accept(name, index, overrides):
    done = passed(*overrides)
    assert done.config["actor_rollout_ref"]["rollout"]["n"] == 4
    assert done.config["actor_rollout_ref"]["actor"]["optim"]["lr"] == (1e-5 if "lora" in name else 1e-6)


def test_the_dry_run_of_a_recipe_ends_in_one_line_from_bash_to_the_end(tmp_path):
    done = run_recipe(
        "run_qwen3_8b_rest.sh", "trainer.total_epochs=3", DRY_RUN="1", PYTHON=sys.executable, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "check passed"
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert {"trainer.total_epochs=3  (verl: 30)", "algorithm.adv_estimator=rest  (verl: gae)"} <= {*lines}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.release
def test_a_recipe_with_a_wrong_override_ends_with_one_line_and_no_traceback():
    done = run_recipe("run_qwen3_4b_rest.sh", "data.train_batchsize=64", DRY_RUN="1", PYTHON=sys.executable)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line] == [
        "data.train_batchsize=64: in data: unknown key 'train_batchsize': did you mean train_batch_size? If only your "
        "own code reads it: ++data.train_batchsize=..."
    ]


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("_grpo.sh")])
def test_a_grpo_twin_differs_from_its_rest_run_in_nothing_but_the_preset(name):
    (twin,), (rest,) = runs_of(name), runs_of(name.replace("_grpo", "_rest"))
    mine, its = differences(twin), differences(rest)
    assert {key for key in mine.keys() | its.keys() if mine.get(key) != its.get(key)} <= PRESET_KEYS
    assert (mine["algorithm.adv_estimator"], its["algorithm.adv_estimator"]) == ("grpo", "rest")
    assert mine["rest.reward.rules"] == its["rest.reward.rules"]


def test_the_main_run_is_the_authors():
    (run,) = runs_of("run_qwen3_4b_rest.sh")
    config = passed(*run).config
    actor, data = config["actor_rollout_ref"]["actor"], config["data"]
    assert (data["train_batch_size"], actor["ppo_mini_batch_size"]) == (512, 64)
    assert (data["max_prompt_length"], data["max_response_length"]) == (2048, 2048)
    assert (actor["use_kl_loss"], config["algorithm"]["use_kl_in_reward"]) == (False, False)
    assert config["trainer"]["total_epochs"] == 15
    assert config["rest"]["scheme"] == "paper"


def test_the_sweep_changes_one_thing_at_a_time():
    runs = {re.search(r"qwen3_4b_(\w+)_seed0", "\n".join(run))[1]: differences(run) for run in sweep()}
    paper = runs.pop("paper")

    def changed(variant):
        run = runs[variant]
        keys = {key for key in run.keys() | paper.keys() if run.get(key) != paper.get(key)}
        return {key for key in keys if not key.startswith("trainer.")}

    # and outside of `paper` the policy learns to stop: a floor, or weight for what stands between the blocks
    assert changed("static") == {"rest.weights.args.slope", "rest.weights.think.slope", "rest.floor"}
    assert all(re.match(r"rest\.weights\.(think|other|response)", key) for key in changed("no_think"))
    assert all(re.match(r"rest\.reward\.(format|correctness)_", key) for key in changed("fixed_reward"))
    # and a weight that is known before its token
    entropy = {"rest.scheme", "rest.floor", "rest.weights_from", "rest.normalisation"}
    assert changed("entropy") == entropy
    assert changed("entropy_adaptive") == entropy | {"rest.curriculum.kind"}
    assert changed("token_high") - changed("token_low") == {"rest.alpha"}
    assert set(runs) == {"grpo", "static", "fixed_reward", "no_think", "entropy", "entropy_adaptive"} | {
        "token_low",
        "token_high",
    }


def sweep(**variables):
    return runs_of("run_qwen3_4b_sweep.sh", **variables)


def test_the_sweep_takes_variants_by_variable_and_overrides_at_the_end():
    runs = runs_of("run_qwen3_4b_sweep.sh", "trainer.test_freq=3", VARIANTS="grpo token_low")
    assert [run[0] for run in runs] == ["+rest=grpo", "+rest=token_low"]
    assert all(run[-1] == "trainer.test_freq=3" for run in runs)


def test_paths_with_spaces_and_signs_reach_the_config_as_they_are(tmp_path):
    folder = tmp_path / "my recipes"
    shutil.copytree(FOLDER, folder)
    odd = "/data/it's, a=(b) {c}: $d\\e"
    done = run_recipe(
        "run_qwen3_1_7b_grpo.sh", folder=folder, DRY_RUN="print", MODEL_PATH=odd, DATA_DIR="my data", SEED="7"
    )
    assert done.returncode == 0, done.stderr
    found = dry_run(done.stdout.splitlines()[:-1])
    assert found.config["actor_rollout_ref"]["model"]["path"] == odd
    assert found.config["data"]["train_files"] == "my data/train.parquet"
    assert found.config["data"]["seed"] == 7


@pytest.mark.parametrize("variable", ["DRY_RUN", "NODE_RANK", "HEAD_ADDRESS"])
def test_a_variable_that_cannot_be_is_told_in_one_line(variable):
    given = {"DRY_RUN": "yes", "NODE_RANK": "2", "HEAD_ADDRESS": ""}[variable]
    done = run_recipe(MULTI_NODE, **{variable: given}, PYTHON="false")
    assert done.returncode == 2
    assert done.stderr.startswith(variable) and done.stderr.count("\n") == 1


@pytest.fixture
def recorder(tmp_path):
    """A program in place of Python that writes down how it is called; two nodes are there from the second look on, and
    the head is gone at the first."""
    program = tmp_path / "bin of tests" / "python"
    program.parent.mkdir()
    program.write_text(
        f"""#!{sys.executable}
import json, sys
from pathlib import Path
log = Path({str(tmp_path / "calls")!r})
with log.open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "-":
    print(2)
sys.exit(3 if "fail=1" in sys.argv else "status" in sys.argv)
"""
    )
    program.chmod(0o755)
    return program, lambda: list(map(json.loads, (tmp_path / "calls").read_text().splitlines()))


RAY = ["-m", "ray.scripts.scripts"]


def test_the_first_node_starts_ray_waits_for_the_others_trains_and_stops_ray(recorder):
    program, calls = recorder
    done = run_recipe(MULTI_NODE, "a.b=c d", PYTHON=str(program), HEAD_ADDRESS="10.0.0.1")
    assert done.returncode == 0, done.stderr
    start, look, train, stop = calls()
    assert start == [*RAY, "start", "--head", "--node-ip-address=10.0.0.1", "--port=6379"]
    assert look == ["-"]
    assert train[:3] == ["-m", "verl.trainer.main_ppo", "+ray_kwargs.ray_init.address=auto"]
    assert train[-1] == "a.b=c d" and "trainer.nnodes=2" in train
    assert stop == [*RAY, "stop"]


def test_a_run_that_fails_stops_ray_and_gives_its_exit_status(recorder):
    program, calls = recorder
    done = run_recipe(MULTI_NODE, "fail=1", PYTHON=str(program), HEAD_ADDRESS="10.0.0.1")
    assert done.returncode == 3
    assert calls()[-1] == [*RAY, "stop"]


def test_another_node_joins_and_stays_until_the_first_is_gone(recorder):
    program, calls = recorder
    done = run_recipe(MULTI_NODE, PYTHON=str(program), HEAD_ADDRESS="10.0.0.1", SLURM_NODEID="1", SLURM_NNODES="2")
    assert done.returncode == 0, done.stderr
    address = "--address=10.0.0.1:6379"
    assert calls() == [[*RAY, "start", address], [*RAY, "status", address], [*RAY, "stop"]]


def test_the_study_for_one_gpu_compares_with_the_seeds_so_far(recorder, tmp_path):
    program, calls = recorder
    (tmp_path / "train.parquet").touch()
    given = {"TRAIN_FILE": "train.parquet", "RESULTS": "of it", "VARIANTS": "grpo credit", "SEEDS": "0 1"}
    (tmp_path / "of it" / "grpo-seed0").mkdir(parents=True)
    (tmp_path / "of it" / "grpo-seed0" / "scores.json").touch()  # of an earlier start of the script
    done = run_recipe(STUDY, "a.b=c d", cwd=tmp_path, PYTHON=str(program), SERVE="true", **given)
    assert done.returncode == 0, done.stderr
    trained = [call for call in calls() if call[:2] == ["-m", "verl.trainer.main_ppo"]]
    assert [call[2] for call in trained] == ["+rest=credit", "+rest=grpo", "+rest=credit"]
    assert all(call[-1] == "a.b=c d" and "+rest/reward=strict" in call for call in trained)
    compared = [call[4:] for call in calls() if call[:4] == ["-m", "rest_verl", "eval", "compare"]]
    sides = ["of it/grpo-seed0", "of it/credit-seed0", "--out", "of it/credit-against-grpo"]
    assert compared == [sides, [*sides, "--more-base", "of it/grpo-seed1", "--more-other", "of it/credit-seed1"]]


def test_the_page_lists_every_recipe():
    page = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"`(run_\w+\.sh)`", page)) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_reproduces_and_how_its_data_is_made(name):
    text = (FOLDER / name).read_text()
    header = text[: text.index("set -euo pipefail")]
    if name.endswith("_grpo.sh"):
        assert name.replace("_grpo", "_rest") in header
    else:
        assert re.search(r"GPUs? of \d+", header) and "rest-verl data " in header
        assert "Reproduces: " in header or "ablations" in header
    assert text.rstrip().splitlines()[-1 if "sweep" not in name else -3].endswith('"$@"')
