"""Models and metrics of two runs are compared; every run is in a pair."""

import json
from pathlib import Path

import equivalences
import pytest
import torch
from equivalences import PAIRS, RUNS, Pair
from safetensors.torch import save_file
from trust.runs import CHECKPOINTS, POINTER, parameters, trained_model
from verl_run import RunFailed

NAMES = ("grpo", "uniform in the loss")


def save_model(folder, **tensors):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.tensor(value) for name, value in tensors.items()}, folder / "model.safetensors")


@pytest.fixture
def verdict(tmp_path):
    """Function from the models and metrics of two runs that start from zeros, and a bound, to the pair's verdict."""

    def compare(left, right, bound=0.0, metrics=((), ())):
        save_model(tmp_path / "start" / "model", b=[0.0], a=[0.0, 0.0])
        for name, values, logged in zip(NAMES, (left, right), metrics, strict=True):
            folder = equivalences.folder_of(tmp_path, name)
            save_model(trained_model(folder, 5), a=values[:2], b=values[2:])
            (folder / CHECKPOINTS / POINTER).write_text("5")
            lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in logged]
            (folder / "metrics.jsonl").write_text("".join(lines))
        return equivalences.verdict_on(Pair(*NAMES, bound), dict.fromkeys(NAMES, ""), tmp_path / "start", tmp_path)

    return compare


def test_equal_models_are_identical(verdict):
    found = verdict([3.0, 4.0, 0.0], [3.0, 4.0, 0.0])
    assert found["held"] and equivalences.line_of(PAIRS[0], found)[2:] == ["5", "0", "0", "nothing", "", "identical"]


def test_a_difference_is_a_share_of_training(verdict):
    left, right = [3.0, 4.0, 0.0], [3.0, 4.0, 0.05]  # moved by 5, apart by 0.05
    found = verdict(left, right, 0.02)
    assert (found["largest"], found["share"]) == (pytest.approx(0.05), pytest.approx(0.01)) and found["held"]
    assert not verdict(left, right, 0.005)["held"]
    assert equivalences.line_of(PAIRS[0], verdict(left, right))[-1] == "**differs**"


def test_equal_models_with_other_metrics_do_not_hold(verdict):
    logged = [(1, {"rest/weight/name": 1.0, "actor/loss": 1.0}), (2, {"rest/weight/name": 1.5})]
    other = [(2, {"rest/weight/name": 1.25, "actor/loss": 3.0})]
    found = verdict([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], metrics=(logged, other))
    assert (found["metrics_apart"], found["held"]) == (0.25, False)


def test_a_run_that_did_not_train_proves_nothing(verdict):
    with pytest.raises(RunFailed, match="grpo did not train"):
        verdict([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])


def test_a_pair_with_a_failed_run_does_not_hold(tmp_path):
    found = equivalences.verdict_on(Pair(*NAMES), {NAMES[0]: "no memory", NAMES[1]: ""}, tmp_path, tmp_path)
    assert found == {"held": False, "failed": "grpo did not run: no memory"}
    assert equivalences.findings(PAIRS[:1], [found])["held"] == 0


def test_a_runs_own_settings_come_last(tmp_path):
    for run in RUNS.values():
        overrides = equivalences.overrides_of(run, tmp_path, tmp_path)
        assert overrides[len(overrides) - len(run.overrides) :] == list(run.overrides)


def test_parameters_are_in_the_order_of_their_names(tmp_path):
    save_model(tmp_path, b=[2.0], a=[0.0, 1.0])
    assert parameters(tmp_path).tolist() == [0.0, 1.0, 2.0]


def test_every_run_is_in_a_pair_and_in_its_own_folder():
    assert set(equivalences.names_of(PAIRS)) == set(RUNS)
    assert len({equivalences.folder_of(Path(), name) for name in RUNS}) == len(RUNS)
    assert {pair.left for pair in equivalences.chosen("two ranks, gspo")} == {"paper", "gspo, stock"}
