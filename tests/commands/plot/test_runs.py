import pytest

from rest_verl.commands.plot.runs import find_runs


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
