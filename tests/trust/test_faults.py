import json
import subprocess
import sys
import time
from datetime import date

import faults
import pandas as pd
import pytest
import typer
from trust import killer as killing
from trust.disturbances import DISTURBANCES, Disturbance
from trust.fault_table import Outcome, in_place, line_of, notes_on, said_in
from trust.runs import BENCHMARKS, CHECKPOINTS, POINTER

LOG = """\
Traceback (most recent call last):
(TaskRunner pid=7) rest_verl.resilience.interrupt.StalledRunError: reward worker 0 of 1 died, and more
ray.exceptions.RayTaskError(OSError): ray::run() (pid=7)
OSError: [Errno 28] No space left on device
done
"""
DEATH = Disturbance("killed", "reward worker 0 of 1 died", ends=True)


def named(name):
    [found] = [one for one in DISTURBANCES if one.name == name]
    return found


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


def test_what_a_run_said_is_the_line_that_had_to_be_there():
    assert said_in(LOG, DEATH) == "reward worker 0 of 1 died, and more"


@pytest.mark.parametrize(
    "line",
    [
        "resume.CheckpointError: all of it cannot be read, OSError: torn",
        "\x1b[36m(Worker pid=4)\x1b[0m WARNING:2026-11-27 09:12:18,933:all of it cannot be read, OSError: torn",
    ],
)
def test_a_message_is_whole_though_the_part_that_had_to_be_there_is_in_its_midst(line):
    found = said_in(line, Disturbance("torn", "cannot be read", ends=True))
    assert found == "all of it cannot be read, OSError: torn"


def test_without_such_a_line_it_is_the_last_error():
    assert said_in(LOG, Disturbance("full", "", ends=True)) == "OSError: [Errno 28] No space left on device"
    assert said_in("all is well\n", Disturbance("full", "", ends=True)) == ""


def test_of_a_run_that_may_go_on_in_silence_nothing_is_said():
    assert said_in(LOG, Disturbance("empty", "", ends=False)) == ""


def test_a_log_cannot_break_the_table():
    outcome = Outcome("killed", "a | b\x1b[31m\n| c" + "x" * 500, 3.2, 4, 4, ([5], [5]), [])
    cells = line_of(outcome)
    assert cells[0] == "killed" and cells[2:] == ["3 s", "4, 4", "yes", date.today().isoformat()]
    assert cells[1].startswith("a \\| b [31m \\| c") and cells[1].endswith(" ...")


def test_a_path_in_the_table_is_told_from_the_checkout():
    outcome = Outcome("killed", f"resume from {BENCHMARKS.parent}/runs/a", None, 4, 4, ([5], []), [])
    assert line_of(outcome)[1] == "resume from runs/a"


def test_what_was_not_as_it_must_be_stands_in_the_line():
    outcome = Outcome("killed", "", None, 4, 3, ([5], []), ["it went on", "it began at step 9"])
    assert line_of(outcome)[:-1] == ["killed", "it went on", "", "4, 3", "it went on; it began at step 9"]


def row(name, steps="4, 4", held="yes"):
    return [name, "", "", steps, held, ""]


def test_rows_of_a_part_take_the_places_of_those_that_are_there_and_new_ones_theirs():
    kept = [row("reward worker killed"), row("vLLM server killed"), row("SIGKILL 1"), row(faults.AFTER)]
    new = [row("vLLM server killed", "5, 5"), row("agent-loop worker killed")]
    assert in_place(new, kept) == [kept[0], new[1], new[0], *kept[2:]]


def test_the_notes_count_what_held_and_what_was_lost():
    rows = [row("a"), row("b", "40, 39"), row("c", held="it went on")]
    assert notes_on(rows) == [
        "2 of 3 were as they must be.",
        "Steps lost that a checkpoint held: 1 (b).",
    ]


def test_faults_are_chosen_by_a_text_in_their_name():
    assert [one.name for one in faults.chosen("disk")] == ["disk full of checkpoints", "disk full of records"]
    assert faults.chosen(faults.NONE) == []
    with pytest.raises(typer.BadParameter, match="nothing of that name: there are reward worker killed"):
        faults.chosen("earthquake")


def test_a_damaged_checkpoint_is_resumed_from_the_one_before(folder):
    damaged = named("newest checkpoint damaged")
    damaged.prepare(folder, folder / "start")
    sizes = [path.stat().st_size for path in sorted(folder.glob(f"{CHECKPOINTS}/*/actor/*.pt"))]
    assert sizes == [100, 100, 50]
    overrides, step = damaged.remedy(folder)
    assert step == 2 and overrides[1].endswith("/global_step_2")


def test_a_torn_pointer_is_resumed_from_the_newest_checkpoint(folder):
    torn = named("pointer to the newest checkpoint torn")
    torn.prepare(folder, folder / "start")
    assert (folder / CHECKPOINTS / POINTER).read_text() == ""
    overrides, step = torn.remedy(folder)
    assert step == 3 and overrides[1].endswith("/global_step_3")


def test_every_second_ground_truth_is_made_unreadable(folder):
    [override] = named("every second ground truth unreadable").prepare(folder, folder / "start")
    rows = pd.read_parquet(override.partition("=")[2])
    truths = [truth["ground_truth"] for truth in rows["reward_model"]]
    assert truths == ["<response> a </response>", '[{"name": ']


def test_rows_get_the_tools_that_hang(folder):
    overrides = named("tool that blocks its worker").prepare(folder, folder / "start")
    rows = pd.read_parquet(overrides[-1].partition("=")[2])
    assert [json.loads(info["environment_kwargs"]) for info in rows["extra_info"]] == [{"blocking": True}] * 2
    assert [info["index"] for info in rows["extra_info"]] == [0, 1]


def test_a_process_is_killed_once_its_moment_has_come_and_not_before(tmp_path):
    step = tmp_path / "a step"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    killer = killing.Killer(f"{sys.executable} -c", step.exists)
    killer.start()
    try:
        time.sleep(0.5)
        assert child.poll() is None and killer.at is None
        step.touch()
        assert child.wait(timeout=20) == -9
    finally:
        child.kill()
        killer.end()
    assert killer.at is not None and killer.at <= time.monotonic()


@pytest.fixture
def killed_run(folder, monkeypatch):
    """`kill_driver` on a process that stands for a run: given the steps that it logs and the checkpoint that it
    leaves, what came of it. The first goes on from step 3."""
    monkeypatch.setattr(faults, "KILL_AFTER_STEP", (0.0, 0.1))

    def kill(logged, newest):
        driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        monkeypatch.setattr(killing, "named", lambda begins: driver)

        def train(*arguments):
            time.sleep(0.5)
            assert driver.poll() is None  # no step yet
            for step in logged:
                with (folder / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps({"step": step, "data": {}}) + "\n")
            assert driver.wait(timeout=20) == -9
            (folder / CHECKPOINTS / POINTER).write_text(str(newest))
            return logged, "verl ended with status -9"

        monkeypatch.setattr(faults, "train", train)
        return faults.kill_driver(1, folder, folder / "start", None)

    return kill


def test_a_driver_is_killed_after_its_first_step_and_its_checkpoint_stays(killed_run):
    outcome = killed_run([4, 5], newest=5)
    assert (outcome.problems, outcome.before, outcome.gone_on_from) == ([], 3, 5)


def test_a_lost_checkpoint_and_a_step_that_is_trained_twice_are_told(killed_run):
    assert killed_run([4], newest=2).problems == ["the newest checkpoint went from 3 to 2"]
    assert killed_run([2], newest=2).problems == ["it began at step 2"]


def test_a_run_that_does_not_go_on_after_the_last_kill_is_told(folder, monkeypatch):
    for logged, failed, held in (([4], "", True), ([1], "", False), ([], "it did not start", False)):
        monkeypatch.setattr(faults, "train", lambda *arguments, found=(logged, failed): found)
        assert (faults.go_on(folder, folder / "start", None).problems == []) is held
