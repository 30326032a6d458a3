"""What is done to runs, what their logs say of it, and what of that is a problem."""

import json
import subprocess
import sys
import time
from datetime import date
from unittest.mock import Mock

import faults
import pandas as pd
import pytest
import typer
from faults import ROOT, Disturbance, said_in
from trust import disturbances
from trust.disturbances import DISTURBANCES
from trust.runs import CHECKPOINTS, POINTER, with_texts

LOG = """\
Traceback (most recent call last):
(TaskRunner pid=7) rest_verl.resilience.interrupt.StalledRunError: reward worker 0 of 1 died, and more
ray.exceptions.RayTaskError(OSError): ray::run() (pid=7)
OSError: [Errno 28] No space left on device
done
"""
TORN = "all of it cannot be read, OSError: torn"


@pytest.fixture
def folder(tmp_path):
    """A run's folder with checkpoints of three steps, and next to it a start with two rows."""
    for step in (1, 2, 3):
        actor = tmp_path / CHECKPOINTS / f"global_step_{step}" / "actor"
        actor.mkdir(parents=True)
        (actor / "model_world_size_1_rank_0.pt").write_bytes(b"x" * 100)
    (tmp_path / CHECKPOINTS / POINTER).write_text("3")
    start = tmp_path / "start"
    start.mkdir()
    rows = [{"reward_model": {"ground_truth": "<response> a </response>"}, "extra_info": {"index": n}} for n in (0, 1)]
    pd.DataFrame(rows).to_parquet(start / "train.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("log", "says", "ends", "said"),
    [
        (LOG, "reward worker 0 of 1 died", True, "reward worker 0 of 1 died, and more"),
        (f"resume.CheckpointError: {TORN}", "cannot be read", True, TORN),
        (f"\x1b[36m(Worker pid=4)\x1b[0m WARNING:2026-11-27 09:12:18,933:{TORN}", "cannot be read", True, TORN),
        (LOG, "", True, "OSError: [Errno 28] No space left on device"),
        ("all is well\n", "", True, ""),
        (LOG, "", False, ""),
    ],
)
def test_a_log_says_the_expected_line_or_the_last_error(log, says, ends, said):
    assert said_in(log, Disturbance("a", says, ends)) == said


def outcome(said="", seconds=None, before=4, resumed_from=4, problems=()):
    return faults.outcome(said, seconds, before, resumed_from, ([5], []), [*problems])


def test_a_row_is_printable_and_names_no_path_of_this_machine():
    pieces = {
        "killed": outcome(f"{ROOT}/runs | b\x1b[31m\n| c" + "x" * 500, 3.2),
        "full": outcome(before=40, resumed_from=39, problems=["it continued", "it began at step 9"]),
    }
    found = faults.findings(pieces)
    first, second = found["tables"]["faults"]["rows"]
    assert first[1].startswith("runs \\| b [31m \\| c") and first[1].endswith("x ...")
    assert [first[0], *first[2:]] == ["killed", "3 s", "4, 4", "yes", date.today().isoformat()]
    assert second[:-1] == ["full", "it continued", "", "40, 39", "it continued; it began at step 9"]
    assert (found["faults"], found["held"], found["steps_lost"]) == (2, 1, {"full": 1})


def test_new_rows_replace_published_ones_in_the_studys_order():
    published = dict.fromkeys(["reward worker killed", "vLLM server killed", "SIGKILL 1"], "old")
    found = faults.merged(published, {"vLLM server killed": "new", "agent-loop worker killed": "new"})
    names = ["reward worker killed", "agent-loop worker killed", "vLLM server killed", "SIGKILL 1"]
    assert list(found) == names and [*found.values()] == ["old", "new", "new", "old"]


def test_faults_are_chosen_by_a_text_in_their_name():
    def chosen(texts):
        return [one.name for one in with_texts(texts, DISTURBANCES, lambda one: one.name)]

    assert chosen(" disk,") == ["disk full of checkpoints", "disk full of records"]
    assert len(chosen("SIGKILL 1,server")) == 3 and len(chosen("")) == len(DISTURBANCES)
    with pytest.raises(typer.BadParameter, match="nothing has 'earthquake' in its name: there are reward worker"):
        chosen("earthquake")


def prepared(name, folder):
    """Do a disturbance to the folder: (the training rows that it names, what its remedy resumes from, the step)."""
    [one] = [one for one in DISTURBANCES if one.name == name]
    files = [
        override.partition("=")[2] for override in one.prepare(folder, folder / "start") if ".parquet" in override
    ]
    overrides, step = one.remedy(folder)
    return pd.read_parquet(files[0]) if files else None, overrides[-1:], step


def test_a_damaged_checkpoint_is_resumed_from_the_one_before(folder):
    _, [path], step = prepared("newest checkpoint damaged", folder)
    assert [path.stat().st_size for path in sorted(folder.glob(f"{CHECKPOINTS}/*/actor/*.pt"))] == [100, 100, 50]
    assert step == 2 and path.endswith("/global_step_2")


def test_a_torn_pointer_is_resumed_from_the_newest_checkpoint(folder):
    _, [path], step = prepared("pointer to the newest checkpoint torn", folder)
    assert (folder / CHECKPOINTS / POINTER).read_text() == ""
    assert step == 3 and path.endswith("/global_step_3")


def test_ground_truths_and_tools_of_rows_are_changed(folder):
    rows, *_ = prepared("every second ground truth unreadable", folder)
    assert [one["ground_truth"] for one in rows["reward_model"]] == ["<response> a </response>", '[{"name": ']
    rows, *_ = prepared("tool that blocks its worker", folder)
    assert [json.loads(info["environment_kwargs"]) for info in rows["extra_info"]] == [{"blocking": True}] * 2
    assert [info["index"] for info in rows["extra_info"]] == [0, 1]


def test_a_process_is_killed_at_its_moment_and_not_before(tmp_path):
    step = tmp_path / "a step"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    killer = disturbances.Killer(f"{sys.executable} -c", step.exists)
    killer.start()
    try:
        time.sleep(0.5)
        assert child.poll() is None and killer.at is None
        step.touch()
        assert child.wait() == -9
    finally:
        child.kill()
        killer.end()
    assert killer.at is not None and killer.at <= time.monotonic()


@pytest.fixture
def disturbed(folder, monkeypatch):
    """What becomes of a disturbance whose run and the one that resumes it log these steps and end so."""

    def of(name, newest, *ends):
        def train_to(*arguments):
            (folder / CHECKPOINTS / POINTER).write_text(str(newest))
            (folder / "verl.log").write_text(LOG)
            return runs.pop(0)

        runs = [*ends]
        monkeypatch.setattr(faults, "train_to", train_to)
        monkeypatch.setattr(faults, "Killer", lambda *arguments: Mock(at=time.monotonic()))
        [one] = [one for one in DISTURBANCES if one.name == name]
        return faults.disturb(one, folder, folder / "start", None)

    return of


DIED = "verl ended with status -9"


@pytest.mark.parametrize(
    ("logged", "newest", "problems"),
    [
        ([4, 5], 5, []),
        ([4], 2, ["the newest checkpoint went from 3 to 2"]),
        ([3], 3, ["it logged the steps [3]"]),
        ([4, 4], 4, ["it logged the steps [4, 4]"]),
    ],
)
def test_a_killed_driver_must_lose_no_checkpoint_and_no_step(disturbed, logged, newest, problems):
    outcome = disturbed("SIGKILL 2", newest, (logged, DIED))
    assert (outcome["problems"], outcome["before"], outcome["resumed_from"]) == (problems, 3, newest)
    assert outcome["said"] == f"8 s after its first step, {len(logged)} steps" and outcome["seconds"] is None


@pytest.mark.parametrize(("logged", "held"), [([4, 5], True), ([4], False), ([1, 2], False), ([], False)])
def test_after_the_last_kill_the_next_steps_must_follow(disturbed, logged, held):
    assert disturbed("nothing, after the last SIGKILL", 5, (logged, ""))["held"] is held


@pytest.mark.parametrize(
    ("again", "failed", "problems"),
    [
        ([6], "", []),
        ([4], "", ["resumed, it logged the steps [4]: "]),
        ([], "a", ["resumed, it logged the steps []: a"]),
    ],
)
def test_a_run_that_died_must_say_so_and_be_resumed(disturbed, again, failed, problems):
    found = disturbed("reward worker killed", 5, ([4, 5], DIED), (again, failed))
    assert found["problems"] == problems
    assert (found["said"], found["resumed_from"]) == ("reward worker 0 of 1 died, and more", 5)


def test_a_run_that_continues_or_says_nothing_is_a_problem(disturbed):
    assert "it continued" in disturbed("reward worker killed", 5, ([4, 5], ""))["problems"]
    found = disturbed("vLLM server killed", 5, ([6], DIED), ([6], ""))
    assert found["problems"] == ["its log does not say 'inference server 0 of 1 died'"]
