"""The quickstart's stages in this process: what it says in a pipe, what a kill costs, and what it names at the end."""

import io
import sys

import pytest
import quickstart
import tiny_model
import toy_task
from progress import Lines, stages
from report import Summary
from rich.console import Console
from verl_run import RunFailed, run_verl


def pipe():
    return Console(file=io.StringIO(), force_terminal=False)


def said(console):
    """The lines, with a blank between the words and without the time, which depends on the machine."""
    return [" ".join(line.split()[:-1]) for line in console.file.getvalue().splitlines()]


# Progress


def test_a_pipe_gets_a_line_a_stage_and_a_line_a_tenth():
    console = pipe()
    with stages(console) as progress:
        bar = progress.add_task("imitating", total=40)
        for step in range(1, 41):
            progress.update(bar, completed=step, description=f"imitating: {step}")
    tenths = [f"imitating: {step} {step}/40" for step in range(4, 41, 4)]
    assert said(console) == ["imitating 0/40", *tenths]


def test_a_stage_that_is_hidden_says_nothing_until_it_is_shown():
    console = pipe()
    with stages(console) as progress:
        bar = progress.add_task("training steps", total=3, start=False, visible=False)
        progress.update(bar, completed=0)
        assert said(console) == []
        progress.update(bar, visible=True)
        for _ in range(3):
            progress.update(bar, completed=1)
    assert said(console) == ["training steps 0/3", "training steps 1/3"]


def test_a_terminal_gets_bars():
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(stages(pipe()), Lines) and not isinstance(stages(terminal), Lines)


# The starting model


@pytest.fixture
def small(monkeypatch):
    """Few demonstrations and steps, saved every third."""
    made = toy_task.make_task
    monkeypatch.setattr(toy_task, "make_task", lambda seed: made(seed, train_rows=40, validation_rows=4))
    monkeypatch.setattr(quickstart, "IMITATION_STEPS", 10)
    monkeypatch.setattr(tiny_model, "SAVE_EVERY", 3)


class Killed(Exception):
    pass


def weights(start):
    return (start / "model" / "model.safetensors").read_bytes()


def test_a_killed_imitation_ends_as_one_that_was_not(small, tmp_path, monkeypatch):
    """Killed after step 5, of which the saved state has 3: the rest is trained as if nothing had happened."""
    whole = quickstart.prepare_start(tmp_path / "whole", 0, stages(pipe()))

    killed = stages(pipe())
    update = killed.update

    def update_and_die(bar, *, completed, description):
        update(bar, completed=completed, description=description)
        if completed == 5:
            raise Killed

    monkeypatch.setattr(killed, "update", update_and_die)
    with pytest.raises(Killed):
        quickstart.prepare_start(tmp_path / "killed", 0, killed)
    assert not (tmp_path / "killed" / "start-seed0" / "finished.json").exists()

    console = pipe()
    resumed = quickstart.prepare_start(tmp_path / "killed", 0, stages(console))
    assert weights(resumed) == weights(whole)
    assert [line.split()[-1] for line in said(console)] == ["0/10", *(f"{step}/10" for step in range(4, 11))]
    assert not list(resumed.glob("imitation*"))


def test_a_finished_start_is_reused(small, tmp_path):
    start = quickstart.prepare_start(tmp_path, 0, stages(pipe()))
    before = (start / "model" / "model.safetensors").stat().st_mtime_ns
    console = pipe()
    assert quickstart.prepare_start(tmp_path, 0, stages(console)) == start
    assert said(console)[-1] == "task and starting model: reused 10/10"
    assert (start / "model" / "model.safetensors").stat().st_mtime_ns == before


# verl's run

FAKE = """#!/bin/sh
echo Started a local Ray instance
echo all initialize finished
{end}
"""
METRICS = """{"step": 0, "data": {}}
{"step": 1, "data": {"timing_s/step": 1.5}}
{"step": 2, "data": {"timing_s/step": 2.5}}
"""


def fake_verl(folder, monkeypatch, end):
    """What stands for Python in `python -m verl.trainer.main_ppo`."""
    program = folder / "python"
    program.write_text(FAKE.format(end=end))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("verl_run.POLL_SECONDS", 0.01)


def test_verls_log_is_named_once_it_is_there(tmp_path, monkeypatch):
    fake_verl(tmp_path, monkeypatch, f"printf '{METRICS}' > $VERL_FILE_LOGGER_PATH".replace("\n", "\\n"))
    console = pipe()
    seen = []
    with stages(console) as progress:
        plain = console.print
        monkeypatch.setattr(
            console,
            "print",
            lambda *args, **kwargs: (seen.append((tmp_path / "verl" / "verl.log").exists()), plain(*args, **kwargs)),
        )
        steps = run_verl([], tmp_path / "verl", 2, progress, timeout=60)
    assert [step.step for step in steps] == [0, 1, 2]
    assert console.file.getvalue().startswith(f"verl's output: {tmp_path / 'verl' / 'verl.log'}\n")
    assert all(seen)
    assert said(console)[-1] == "training steps 2/2"


def test_a_failed_run_names_its_log_and_claims_no_step(tmp_path, monkeypatch):
    fake_verl(tmp_path, monkeypatch, "echo 'ValueError: no such model'; exit 3")
    console = pipe()
    with stages(console) as progress, pytest.raises(RunFailed) as failure:
        run_verl([], tmp_path / "verl", 2, progress, timeout=60)
    assert "5/5" not in console.file.getvalue()
    assert str(failure.value).splitlines()[-1] == "ValueError: no such model"
    assert f"status 3. Its log: {tmp_path / 'verl' / 'verl.log'}" in str(failure.value)


# The end


@pytest.mark.parametrize("there", [["training.png", "summary.json"], ["summary.json", "records", "verl/checkpoints"]])
def test_only_what_is_there_is_named_at_the_end(there, tmp_path, monkeypatch):
    for name in there:
        (tmp_path / name).mkdir(parents=True)
    console = pipe()
    monkeypatch.setattr(quickstart, "console", console)
    quickstart.show(Summary("paper", 0, 2, 0.25, 0.5, {"score": [1.0, 2.0]}, 1.5), tmp_path)
    printed = console.file.getvalue()
    named = {"training.png", "summary.json", "records", "verl/checkpoints"}
    assert {name for name in named if f"{tmp_path / name}" in printed} == set(there)
