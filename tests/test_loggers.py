"""What is logged reaches verl's loggers as it is: real backends, read back from their own files."""

import json
import math
import re

import numpy as np
import pytest
from logged_metrics import logged_metrics
from verl.trainer.ppo.v1.utils import MetricsAggregator
from verl.utils.tracking import Tracking, _MlflowLoggingAdapter
from wandb_files import wandb_records

from rest_verl.weighting.metrics import reward_metrics


@pytest.fixture(scope="module")
def metrics(tokenizer):
    return logged_metrics(tokenizer)


def log(backend, *steps):
    """Log the values of steps 1, 2, ... as verl's trainer does."""
    tracking = Tracking("project", "run", default_backend=[backend], config={"trainer": {}})
    assert list(tracking.logger) == [backend]
    for step, values in enumerate(steps, start=1):
        tracking.log(data=values, step=step)
    tracking.finish()


def test_each_value_is_a_finite_number_of_python(metrics):
    assert {type(value) for value in metrics.values()} == {float}
    assert all(map(math.isfinite, metrics.values()))


def test_names_are_paths_that_no_logger_rewrites(metrics):
    """Letters, digits, _ and / stand in every backend. No name is the folder of another, where metrics are files."""
    assert [name for name in metrics if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+)+", name)] == []
    assert [name for name in metrics if any(other.startswith(f"{name}/") for other in metrics)] == []


def test_the_console_gets_every_value(metrics, capsys):
    log("console", metrics)
    (line,) = [line for line in capsys.readouterr().out.split("\n") if line.startswith("step:1 - ")]
    assert dict(part.split(":") for part in line.split(" - ")[1:]) == {key: repr(metrics[key]) for key in metrics}


def test_the_file_has_every_value(metrics, tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(path))
    log("file", metrics, metrics)
    lines = [json.loads(line) for line in path.read_text().split("\n") if line]
    assert lines == [{"step": 1, "data": metrics}, {"step": 2, "data": metrics}]


def test_tensorboard_has_every_value(metrics, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path))
    log("tensorboard", metrics, metrics)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == set(metrics)
    for name, value in metrics.items():
        # tensorboard keeps 32 bits
        assert [(one.step, one.value) for one in events.Scalars(name)] == [
            (step, pytest.approx(value, rel=1e-6)) for step in (1, 2)
        ]


def test_wandb_has_every_value(metrics, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.chdir(tmp_path)
    for key, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    log("wandb", metrics)
    wandb.teardown()  # wandb's process closes its file after the run's finish has returned: wait for its end
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    found = {}
    for data in wandb_records(path.read_bytes()):
        for item in Record.FromString(data).history.item:
            found["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    assert {name: found[name] for name in found if not name.startswith("_")} == metrics
    assert found["_step"] == 1


def test_mlflow_has_every_value(metrics, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow (or mlflow-skinny)")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the database's backend is not in mlflow-skinny
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    log("mlflow", metrics)
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("project").experiment_id])
    assert run.data.metrics == metrics
    assert {one.step for one in client.get_metric_history(run.info.run_id, "rest/weight_ess")} == {1}


def test_verl_s_rules_for_mlflow_change_no_name(metrics):
    adapter = _MlflowLoggingAdapter()
    assert [name for name in metrics if adapter._sanitize_key(name) != name] == []


def test_where_a_step_has_several_parts_verl_takes_means_and_adds_times(metrics):
    """verl guesses from a name what to do with it: a component called `minutes` would become a minimum.

    Of ours, the greatest weight is the maximum, and one count is added up.
    """
    aggregator = MetricsAggregator()
    aggregator.add_step_metrics(metrics, sample_count=1)
    aggregator.add_step_metrics({name: value + 4.0 for name, value in metrics.items()}, sample_count=3)
    found = aggregator.get_aggregated_metrics()
    added = {name for name in metrics if name.startswith("timing_") or name.endswith("/sum_pi_squared")}
    expected = {name: 2 * value + 4.0 if name in added else value + 3.0 for name, value in metrics.items()}
    expected["rest/weight_max"] = metrics["rest/weight_max"] + 4.0
    assert found == pytest.approx(expected)


def test_a_component_may_be_any_number_of_numpy():
    components = {"half": np.float32(0.5), "two": np.int64(2), "yes": True, "text": "x", "none": None}
    found = reward_metrics([{"reward_extra_info": components}])
    assert found == {
        "rest/reward/half": 0.5,
        "rest/reward/two": 2.0,
        "rest/reward/yes": 1.0,
        "rest/not_finite/reward": 0.0,
    }
    assert {type(value) for value in found.values()} == {float}


def test_a_component_that_is_no_number_stops_no_logger(tmp_path, monkeypatch):
    logged = reward_metrics([{"reward_extra_info": {"ratio": math.nan}}])
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(tmp_path / "metrics.jsonl"))
    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path / "tensorboard"))
    for backend in ("console", "file", "tensorboard"):
        log(backend, logged)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["data"] == {"rest/not_finite/reward": 1.0}
