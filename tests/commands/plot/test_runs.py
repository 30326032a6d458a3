"""Runs are found below a folder, and their logs read in each of verl's formats."""

import json
import math
import sys

import pytest

from rest_verl.commands.plot.runs import find_logs, find_runs, read_log


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Logs of two runs with two seeds each, in the current folder."""
    for name in ("paper-0", "paper-1", "grpo-0", "grpo-1"):
        (tmp_path / "runs" / name / "verl").mkdir(parents=True)
        (tmp_path / "runs" / name / "verl" / "metrics.jsonl").write_text('{"step": 1, "data": {"x": 1}}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of(*arguments):
    return {run.name: [str(path) for path in run.logs] for run in find_runs(arguments)}


def test_a_path_is_a_run_called_by_its_last_part(folder):
    assert of("runs/grpo-0", "runs/paper-1/verl/metrics.jsonl") == {
        "grpo-0": ["runs/grpo-0/verl/metrics.jsonl"],
        "metrics": ["runs/paper-1/verl/metrics.jsonl"],
    }


def test_the_current_folder_has_a_name(folder):
    assert list(of(".")) == [folder.name]


def test_all_logs_below_one_path_are_seeds(folder):
    assert of("runs") == {
        "runs": [f"runs/{name}/verl/metrics.jsonl" for name in ("grpo-0", "grpo-1", "paper-0", "paper-1")]
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["ours=runs/paper-*", "grpo=runs/grpo-*"],
        ["ours=runs/paper-0", "grpo=runs/grpo-0", "ours=runs/paper-1", "grpo=runs/grpo-1"],  # as paper-{0,1} expands
        ["ours=**/paper-*/**/*.jsonl", "grpo=runs/grpo-[01]/verl"],
    ],
)
def test_all_paths_of_one_name_are_seeds_of_one_run_and_patterns_are_expanded(folder, arguments):
    assert of(*arguments) == {
        "ours": ["runs/paper-0/verl/metrics.jsonl", "runs/paper-1/verl/metrics.jsonl"],
        "grpo": ["runs/grpo-0/verl/metrics.jsonl", "runs/grpo-1/verl/metrics.jsonl"],
    }


def test_each_match_of_a_pattern_without_a_name_is_a_run(folder):
    assert list(of("runs/*-1")) == ["grpo-1", "paper-1"]


def test_an_equals_sign_in_a_path_begins_no_path(folder):
    (folder / "runs" / "grpo-0").rename(folder / "lr=1e-6")
    (folder / "runs" / "grpo-1").rename(folder / "runs" / "lr=1e-5")
    assert list(of("lr=1e-6", "runs/lr=1e-5", "named=lr=1e-6")) == ["lr=1e-6", "lr=1e-5", "named"]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["ours=runs/papr-*"], FileNotFoundError, "ours=runs/papr-\\*: runs/papr-\\* matches no file and no folder"),
        (["runs/paper-2"], FileNotFoundError, "runs/paper-2 matches no file"),
        (["=runs/paper-0"], ValueError, "expected a path, or NAME=PATH"),
        (["ours="], ValueError, "expected a path, or NAME=PATH"),
        (["runs/paper-0/verl", "runs/paper-1/verl"], ValueError, "another run is already named 'verl': give each"),
        (["verl=runs/paper-0", "runs/paper-1/verl"], ValueError, "another run is already named 'verl'"),
        (["runs/paper-1/verl", "verl=runs/paper-0"], ValueError, "another run is already named 'verl'"),
        (["a=runs/paper-0", "a=runs/paper-*"], ValueError, "a: runs/paper-0/.* is given twice"),
    ],
)
def test_what_names_no_run_or_two_is_refused(folder, arguments, error, said):
    with pytest.raises(error, match=said):
        find_runs(arguments)


def lines(path, *records):
    """A log as verl's logger `file` writes it, of (step, data)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"step": step, "data": data}) + "\n" for step, data in records))
    return path


def test_what_verls_own_loggers_write_is_read_alike_from_both(tmp_path, monkeypatch):
    tracking = pytest.importorskip("verl.utils.tracking")
    numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("VERL_FILE_LOGGER_ROOT", str(tmp_path))
    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path / "events"))
    logger = tracking.Tracking("project", "first", ["file", "tensorboard"])
    for step in (0, 1):
        data = {"val-core/a b/acc/mean@1": numpy.float64(0.5), "training/epoch": step, "gone": float("nan")}
        logger.log(data, step)
    logger.logger["tensorboard"].log({"of/tensor": torch.tensor(0.25)}, 1)
    logger.logger["tensorboard"].writer.add_text("val/generations", "some text", 1)
    logger.finish()
    expected = {"val-core/a b/acc/mean@1": {0: 0.5, 1: 0.5}, "training/epoch": {0: 0, 1: 1}}
    for path, more in ((tmp_path / "project" / "first.jsonl", {}), (tmp_path / "events", {"of/tensor": {1: 0.25}})):
        scalars = read_log(path)
        gone = scalars.pop("gone")
        assert sorted(gone) == [0, 1] and all(map(math.isnan, gone.values()))
        assert scalars == expected | more


def test_of_a_step_that_is_logged_twice_the_later_value_counts(tmp_path):
    log = lines(tmp_path / "a.jsonl", (1, {"x": 1.0, "y": 5}), (2, {"x": 2.0}), (1, {"x": 7.0}))
    assert read_log(log) == {"x": {1: 7.0, 2: 2.0}, "y": {1: 5.0}}


def events(folder, *scalars):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for step, value in scalars:
            writer.add_scalar("x", value, step)


def test_the_event_files_of_a_resumed_run_are_one_log_and_the_later_values_count(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    for begun, scalars in ((1000, [(1, 1.0), (2, 2.0), (3, 3.0)]), (2000, [(3, 30.0), (4, 40.0)])):
        monkeypatch.setattr("time.time", lambda begun=begun: begun)
        events(tmp_path / "a", *scalars)
    assert find_logs(tmp_path).logs == [tmp_path / "a"]
    assert read_log(tmp_path / "a") == {"x": {1: 1.0, 2: 2.0, 3: 30.0, 4: 40.0}}
    [first, second] = sorted((tmp_path / "a").iterdir())
    assert read_log(first) == {"x": {1: 1.0, 2: 2.0, 3: 3.0}}
    assert read_log(second) == {"x": {3: 30.0, 4: 40.0}}


def test_every_value_of_a_long_event_file_is_read(tmp_path):
    pytest.importorskip("tensorboard")
    events(tmp_path, *((step, step) for step in range(10_500)))  # TensorBoard itself would keep 10,000
    assert read_log(tmp_path) == {"x": {step: step for step in range(10_500)}}


def test_a_last_line_that_is_half_written_is_left_out(tmp_path):
    log = lines(tmp_path / "a.jsonl", (1, {"x": 1.0}), (2, {"x": 2.0}))
    log.write_bytes(log.read_bytes()[:-5])
    assert read_log(log) == {"x": {1: 1.0}}


def test_a_last_line_that_is_whole_counts_without_its_line_break(tmp_path):
    log = lines(tmp_path / "a.jsonl", (1, {"x": 1.0}), (2, {"x": 2.0}))
    log.write_bytes(log.read_bytes()[:-1])
    assert read_log(log) == {"x": {1: 1.0, 2: 2.0}}


@pytest.mark.parametrize("written", ["null", "NaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_is_nan(tmp_path, written):
    (tmp_path / "a.jsonl").write_text('{"step": 1, "data": {"x": ' + written + "}}\n")
    assert math.isnan(read_log(tmp_path / "a.jsonl")["x"][1])


def test_text_beside_the_numbers_is_no_metric(tmp_path):
    log = lines(tmp_path / "a.jsonl", (1, {"x": 1.0, "note": "hello", "list": [1], "map": {"y": 1}}))
    assert read_log(log) == {"x": {1: 1.0}}


@pytest.mark.parametrize(
    "wrong",
    ["{", "[]", "3", "", '{"step": 2}', '{"step": 2, "data": [1]}', '{"step": "2", "data": {}}', "[" * 100_000],
)
def test_a_line_of_something_else_is_refused_by_file_and_number_with_what_is_expected(tmp_path, wrong):
    log = lines(tmp_path / "a.jsonl", (1, {"x": 1.0}))
    log.write_text(log.read_text() + wrong + "\n" + '{"step": 3, "data": {}}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl:2: .*expected \{\"step\": 1, \"data\": "):
        read_log(log)


def test_bytes_that_are_no_text_are_refused_by_file_and_number(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"PAR1\xff\xfe\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:1: .*expected"):
        read_log(tmp_path / "a.jsonl")


@pytest.mark.parametrize("written", ["", '{"step": 1, "da', '{"step": 1, "data": {}}\n'])
def test_a_log_without_a_number_is_refused(tmp_path, written):
    (tmp_path / "a.jsonl").write_text(written)
    with pytest.raises(ValueError, match="no step is logged yet"):
        read_log(tmp_path / "a.jsonl")


def test_all_logs_below_a_folder_are_found_and_verls_rollouts_are_none(tmp_path):
    second = lines(tmp_path / "b" / "verl" / "metrics.jsonl", (1, {"x": 1}))
    first = lines(tmp_path / "a" / "p" / "e.jsonl", (1, {"x": 1}))
    (tmp_path / "a" / "rollouts").mkdir()
    (tmp_path / "a" / "rollouts" / "1.jsonl").write_text('{"input": "hello", "step": 1, "score": 0.5}\n')
    (tmp_path / "a" / "empty.jsonl").touch()
    assert find_logs(tmp_path).logs == [first, second]


def test_where_both_loggers_wrote_json_lines_are_taken_and_events_named_as_passed_over(tmp_path):
    log = lines(tmp_path / "a.jsonl", (1, {"x": 1}))
    (tmp_path / "tensorboard_log").mkdir()
    (tmp_path / "tensorboard_log" / "events.out.tfevents.1.host").touch()
    found = find_logs(tmp_path)
    assert found.logs == [log] and found.skipped == [tmp_path / "tensorboard_log"]


def test_a_folder_without_a_log_is_refused_with_the_files_looked_for(tmp_path):
    (tmp_path / "verl.log").touch()
    with pytest.raises(FileNotFoundError, match=r"\*\.jsonl .*events\.out\.tfevents\.\* .*trainer\.logger"):
        find_logs(tmp_path)


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "events.out.tfevents.1.host").touch()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rest-verl\[plot\]'"):
        read_log(tmp_path)
