"""Samples in a run's trackers: real ones, opened as verl opens them and read back from their own files."""

import json
import logging
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from record_tables import Part, record
from tiers import HANG_GUARD
from verl.utils.tracking import Tracking
from wandb_files import wandb_records

from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.records.cells import COLUMNS, cells_of
from rest_verl.records.schema import RecordMeta, with_meta
from rest_verl.records.trackers import SampleTracker, check_trackers, sample, tracker_of
from rest_verl.records.write import RecordWriter

CALL = {"name": "get_weather", "arguments": '{"city": "Zürich"}', "result": "rain <b>", "error": None, "seconds": 0.1}
PARTS = (
    Part("<think>", "format"),
    Part(" Where? ", "think"),
    Part("get_weather", "name"),
    Part("rain <b>", generated=False),
    Part("It rains in Zürich.", "response"),
)
META = RecordMeta(3, 10, "hermes", "paper", "loss", "grpo", trajectories=4)


def row(picked="best", **changes):
    turns = [
        {"begin": 0, "end": 3, "user_turn": 0, "seconds": 0.5, "calls": [CALL]},
        {"begin": 4, "end": 5, "user_turn": 0, "seconds": 0.5, "calls": []},
    ]
    given = {"step": 3, "picked": picked, "turns": turns, "prompt": "Weather in Zürich?", "score": 1.5}
    return record(PARTS, tokenise=lambda text: [text.encode()], **given | changes)


def table(*rows):
    return pa.Table.from_pylist([{"events": None, **one} for one in rows], schema=with_meta(META))


def step(rows=4):
    return table(*(row(picked) for picked in ["sample", "best", "worst", *["sample"] * rows][:rows]))


def read_row(**changes):
    """A row as it comes out of a table."""
    return table(row(**changes)).to_pylist()[0]


def test_a_row_becomes_cells():
    cells = cells_of(read_row(), 60_000)
    assert (cells.step, cells.turns, cells.score, cells.picked) == (3, 2, 1.5, "best")
    assert cells.prompt == "Weather in Zürich?"
    assert cells.response == "<think> Where? get_weatherrain <b>It rains in Zürich."
    assert json.loads(cells.calls) == [{"name": "get_weather", "arguments": '{"city": "Zürich"}'}]
    assert json.loads(cells.results) == ["rain <b>"]
    assert json.loads(cells.reward) == {"format": 1.0, "correctness": 0.5}
    assert cells.values() == [getattr(cells, name) for name in COLUMNS]


def test_tokens_are_coloured_by_region_and_are_no_markup():
    shown = cells_of(read_row(), 60_000).tokens
    assert '<span title="think" style="background:#cfe8f9"> Where? </span>' in shown
    assert '<span title="tool or user" style="color:#767676">rain &lt;b&gt;</span>' in shown
    assert "&lt;think&gt;" in shown and "<think>" not in shown and "<b>" not in shown
    assert shown.count("<span") == 5


@pytest.mark.parametrize("text", ["word " * 10_000, "<&>" * 10_000, "東" * 10_000])
def test_cells_stay_within_their_bytes(text):
    calls = [{**CALL, "arguments": text, "result": text}] * 3
    turns = [{"begin": 0, "end": 1, "user_turn": 0, "seconds": 1.0, "calls": calls}]
    parts = [Part(text[:3000], "think"), Part("b", "name"), Part(text, "response")]
    made = record(parts, turns=turns, prompt=text, tokenise=lambda part: [part.encode()])
    cells = cells_of(table(made).to_pylist()[0], 6000)
    texts = [cells.prompt, cells.response, cells.calls, cells.results, cells.reward, cells.tokens]
    assert all(len(one.encode()) <= 1000 for one in texts)
    assert cells.prompt.endswith(text[-10:]) and cells.response.startswith(text[:10])
    assert cells.tokens.endswith("</div>") and cells.tokens.count("<span") == cells.tokens.count("</span>")


def test_the_best_and_the_worst_come_before_others():
    assert [one.picked for one in sample(step(), 3, 60_000)] == ["sample", "best", "worst"]
    assert [one.picked for one in sample(step(), 2, 60_000)] == ["best", "worst"]
    assert len(sample(step(2), 9, 60_000)) == 2


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """No test depends on how fast a tracker is."""
    monkeypatch.setattr("rest_verl.records.worker.SECONDS_AT_END", HANG_GUARD)


def track(backend, *steps, rows=2):
    """A run of verl that logs metrics at each step, with the samples of its steps."""
    tracking = Tracking("project", "run", default_backend=[backend], config={"trainer": {}})
    tracker = SampleTracker([backend], "project", "run", rows, 100_000)
    for number, made in enumerate(steps, start=1):
        tracking.log(data={"rest/number": float(number)}, step=number)
        tracker.log(number, made)
    tracker.close()
    tracking.finish()


@pytest.fixture
def wandb_folder(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")
    monkeypatch.chdir(tmp_path)
    folders = {"DIR": tmp_path, "DATA_DIR": tmp_path / "data", "CACHE_DIR": tmp_path / "cache"}
    for key, value in {"MODE": "offline", "SILENT": "true", **folders}.items():
        monkeypatch.setenv(f"WANDB_{key}", str(value))
    return tmp_path


def wandb_run(folder):
    """What the offline run logged, a dict for each step; and the files of its tables by the path in the table."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # wandb's process closes its file after the run's finish has returned: wait for its end
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    records = [Record.FromString(data) for data in wandb_records(path.read_bytes())]
    history = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in one.history.item}
        for one in records
        if one.history.item
    ]
    files = {file.path: Path(file.local_path) for one in records for file in one.artifact.manifest.contents}
    return history, files


def test_wandb_has_a_table_with_an_html_cell(wandb_folder):
    track("wandb", step())
    history, files = wandb_run(wandb_folder)
    (logged,) = [one for one in history if "rest/samples/_type" in one]
    shown = {name: logged[f"rest/samples/{name}"] for name in ("_type", "nrows", "ncols")}
    assert shown == {"_type": "table-file", "nrows": 2, "ncols": len(COLUMNS)}
    read = json.loads(files["rest/samples.table.json"].read_text())
    assert tuple(read["columns"]) == COLUMNS
    (first, _) = [dict(zip(COLUMNS, one, strict=True)) for one in read["data"]]
    assert (first["turns"], first["score"], first["picked"]) == (2, 1.5, "best")
    assert json.loads(first["results"]) == ["rain <b>"]
    assert first["tokens"]["_type"] == "html-file"
    assert files[first["tokens"]["path"]].read_text() == cells_of(read_row(), 50_000).tokens


def test_samples_move_no_step_of_wandb(wandb_folder):
    """verl gives each step its number, and wandb drops what comes with an earlier one."""
    track("wandb", step(), step(), step())
    history, _ = wandb_run(wandb_folder)
    steps = {one["_step"]: one["rest/number"] for one in history if "rest/number" in one}
    assert steps == {1: 1.0, 2: 2.0, 3: 3.0}
    assert any("rest/samples/_type" in one for one in history)


def test_mlflow_has_a_file_of_samples_in_the_run_of_another_thread(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install mlflow (or mlflow-skinny)")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the database's backend is not in mlflow-skinny
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    track("mlflow", step())
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("project").experiment_id])
    (file,) = client.list_artifacts(run.info.run_id, "rest_samples")
    assert file.path == "rest_samples/step_000001.json"
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    first, _ = json.loads((folder / file.path).read_text())
    assert tuple(first) == COLUMNS
    assert first == dict(zip(COLUMNS, cells_of(read_row(), 50_000).values(), strict=True))
    assert run.data.metrics == {"rest/number": 1.0}


def test_tensorboard_has_the_texts_of_verls_own_logger(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path))
    track("tensorboard", step())
    events = EventAccumulator(str(tmp_path)).Reload()
    (text,) = [one.tensor_proto.string_val[0].decode() for one in events.Tensors("val/generations/text_summary")]
    assert text.count("### Sample") == 2
    assert "**Input:** Weather in Zürich?" in text and "**Score:** 1.5" in text


def test_a_tracker_that_fails_costs_one_warning(tmp_path, caplog, monkeypatch):
    tried = threading.Semaphore(0)

    def fail(*arguments):
        tried.release()
        raise ConnectionError("no network")

    monkeypatch.setattr("rest_verl.records.trackers._to_wandb", fail)
    tracker = SampleTracker(["wandb"], "project", "run", 2, 10_000)
    writer = RecordWriter(tmp_path, 1, 1 << 30, tracker.log)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            writer.write(number, step)
            assert tried.acquire(timeout=HANG_GUARD), "later steps are tried"
        writer.close()
        tracker.close()
    assert len(list(tmp_path.glob("*.parquet"))) == 3
    (warning,) = [one.getMessage() for one in caplog.records]
    assert "samples of step 0 are not logged (wandb: ConnectionError: no network)" in warning


def test_a_tracker_that_hangs_holds_up_no_records(tmp_path, monkeypatch):
    began, go = threading.Event(), threading.Event()

    def hang(*arguments):
        began.set()
        go.wait(HANG_GUARD)

    monkeypatch.setattr("rest_verl.records.trackers._to_wandb", hang)
    tracker = SampleTracker(["wandb"], "project", "run", 2, 10_000)
    writer = RecordWriter(tmp_path, 1, 1 << 30, tracker.log)
    writer.write(0, step)
    assert began.wait(HANG_GUARD)
    writer.write(1, step)
    writer.write(2, step)
    writer.close()
    assert len(list(tmp_path.glob("*.parquet"))) == 3
    go.set()
    tracker.close()


def rest(**dump):
    return RestConfig(dump_dir="records", dump=dump)


TRAINER = {"logger": ["console", "wandb"], "project_name": "p", "experiment_name": "e", "log_val_generations": 0}


def test_nothing_is_tracked_by_default():
    assert tracker_of(rest(), TRAINER) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logger": "console"}, r"none of trainer.logger=\['console'\] takes samples; allowed: wandb, mlflow"),
        (
            {"logger": ["tensorboard"], "log_val_generations": 4},
            "both write val/generations of tensorboard: set one of them to 0",
        ),
    ],
)
def test_a_run_that_cannot_track_samples_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_trackers(rest(tracked=4), {**TRAINER, **changes})


def test_trackers_are_those_of_the_run():
    assert check_trackers(rest(tracked=4), TRAINER) == ["wandb"]
    assert check_trackers(rest(tracked=4), {**TRAINER, "logger": ["mlflow", "swanlab"]}) == ["mlflow", "swanlab"]
