import json
from pathlib import Path

import equivalences
import pytest
import torch
from safetensors.torch import save_file
from trust.pairs import PAIRS, RUNS, Pair
from trust.runs import parameters, trained_model
from verl_run import RunFailed


def save_model(folder, **tensors):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.tensor(value) for name, value in tensors.items()}, folder / "model.safetensors")


@pytest.fixture
def trained(tmp_path):
    """Function that puts the models and the metrics of two runs where a study leaves them."""

    def place(left, right, metrics=((), ())):
        save_model(tmp_path / "start" / "model", b=[0.0], a=[0.0, 0.0])
        for name, values, logged in zip(("grpo", "uniform in the loss"), (left, right), metrics, strict=True):
            folder = equivalences.folder_of(tmp_path, name)
            save_model(trained_model(folder, RUNS[name].steps), a=values[:2], b=values[2:])
            lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in logged]
            (folder / "metrics.jsonl").write_text("".join(lines))
        return tmp_path / "start", tmp_path

    return place


def row(pair, where):
    cells, held = equivalences.row_of(pair, {}, *where)
    return cells[3:], held


def test_models_that_are_the_same_in_every_bit_are_identical(trained):
    where = trained([3.0, 4.0, 0.0], [3.0, 4.0, 0.0])
    assert row(Pair("grpo", "uniform in the loss"), where) == (["0", "0", "nothing", "", "identical"], True)


def test_a_difference_is_measured_against_what_training_changed(trained):
    where = trained([3.0, 4.0, 0.0], [3.0, 4.0, 0.05])  # moved by 5, apart by 0.05
    assert row(Pair("grpo", "uniform in the loss", 0.02), where) == (["0.05", "0.01", "0.02", "", "held"], True)
    assert row(Pair("grpo", "uniform in the loss", 0.005), where)[1] is False
    assert row(Pair("grpo", "uniform in the loss"), where) == (["0.05", "0.01", "nothing", "", "**differs**"], False)


def test_identical_models_with_other_metrics_do_not_hold(trained):
    logged = [(1, {"rest/weight/name": 1.0, "actor/loss": 1.0}), (2, {"rest/weight/name": 1.5})]
    other = [(2, {"rest/weight/name": 1.25, "actor/loss": 3.0})]
    where = trained([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], (logged, other))
    assert row(Pair("grpo", "uniform in the loss"), where) == (["0", "0", "nothing", "0.25", "**differs**"], False)


def test_a_run_that_did_not_train_proves_nothing(trained):
    where = trained([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    with pytest.raises(RunFailed, match="grpo did not train"):
        row(Pair("grpo", "uniform in the loss"), where)


def test_a_pair_whose_run_failed_does_not_hold_and_says_why(tmp_path):
    cells, held = equivalences.row_of(Pair("grpo", "uniform in the loss"), {"grpo": "no memory"}, tmp_path, tmp_path)
    assert (cells[-1], held) == ("grpo did not run: no memory", False)


def test_a_runs_own_settings_hold_over_the_recipes(tmp_path):
    sizes = "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu"
    for size in (1, 2, 4):
        run = RUNS[f"paper, micro-batches of {size}"]
        overrides = equivalences.overrides_of(run, tmp_path, tmp_path)
        assert [one for one in overrides if one.startswith(sizes)][-1] == f"{sizes}={size}"
    for run in RUNS.values():
        overrides = equivalences.overrides_of(run, tmp_path, tmp_path)
        assert overrides[len(overrides) - len(run.overrides) :] == list(run.overrides)


def test_parameters_are_in_the_order_of_their_names(tmp_path):
    save_model(tmp_path, b=[2.0], a=[0.0, 1.0])
    assert parameters(tmp_path).tolist() == [0.0, 1.0, 2.0]


def test_every_run_is_in_a_pair_and_every_pair_has_its_runs():
    paired = {name for pair in PAIRS for name in (pair.left, pair.right)}
    assert paired == set(RUNS)
    assert len({equivalences.folder_of(Path(), name) for name in RUNS}) == len(RUNS)


def test_pairs_are_chosen_by_a_text_in_a_name():
    assert {pair.left for pair in equivalences.known_pairs("two ranks, gspo")} == {"paper", "gspo, stock"}
    assert equivalences.known_pairs("") == PAIRS
