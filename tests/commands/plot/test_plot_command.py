"""`rest-verl plot`, on logs that are written here."""

import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html import unescape
from pathlib import Path

import pytest
from command_line import one_error_line
from typer.testing import CliRunner

from rest_verl.cli import app

ROOT = Path(__file__).resolve().parents[3]
REGIONS = ("args", "format", "name", "other", "response", "think")
pytest.importorskip("matplotlib", reason='pictures need matplotlib: pip install "rest-verl[plot]"')


def run(*arguments):
    return CliRunner().invoke(app, ["plot", *map(str, arguments)])


def write_log(path, seed, rest=True, steps=6):
    """A log like that of a short training run; without `rest` like that of stock verl."""
    chance = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for step in range(steps):
            data = {"critic/score/mean": chance.random(), "actor/grad_norm": 1.0, "actor/pg_clipfrac": 0.0}
            data |= {"response_length/mean": None if step == 3 else 40.0, "timing_s/step": 2.0}
            if rest:
                data |= {f"rest/{kind}/{region}": 0.5 for kind in ("entropy", "weight") for region in REGIONS}
            if step % 5 == 0:
                data["val-core/toy/acc/mean@1"] = 0.1 * step
            file.write(json.dumps({"step": step, "data": data}) + "\n")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    for seed in range(3):
        write_log(tmp_path / "runs" / f"paper-{seed}" / "verl" / "metrics.jsonl", seed)
        write_log(tmp_path / "runs" / f"grpo-{seed}" / "verl" / "metrics.jsonl", seed, rest=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts_of(path):
    """What an SVG says: each text stands in it as an escaped comment beside its outlines."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    return [
        unescape(node.text.strip())
        for node in ElementTree.parse(path, parser).iter()
        if node.tag is ElementTree.Comment
    ]


def test_two_runs_of_three_seeds_become_one_picture_and_the_command_says_what_it_found(runs):
    done = run("paper=runs/paper-*", "grpo=runs/grpo-*", "--out", "pictures/both", "--title", "a $ against b")
    assert done.exit_code == 0, done.output
    assert "paper (3 seeds), steps 0 to 5\n  runs/paper-0/verl/metrics.jsonl\n" in done.stdout
    assert "panel 'Curriculum' left out: rest/curriculum is not logged\n" in done.stdout
    assert "grpo is not in all panels: it does not log rest/entropy/*, rest/weight/*\n" in done.stdout
    assert done.stdout.endswith("7 panels: pictures/both.png, pictures/both.svg\n")
    png = (runs / "pictures" / "both.png").read_bytes()
    assert png.startswith(b"\x89PNG") and struct.unpack(">I", png[16:20]) == (1200,)
    said = texts_of(runs / "pictures" / "both.svg")
    assert {
        "a $ against b",
        "paper (3 seeds)",
        "grpo (3 seeds)",
        "Training reward",
        "Validation accuracy: toy",
    } <= set(said)
    assert all(said.count(region) == 2 for region in REGIONS)  # small axes for entropy and for weight
    assert any("band: from the lowest to the highest" in text for text in said)


def test_folders_of_seeds_give_the_picture_that_patterns_give(runs):
    for name in ("paper", "grpo"):
        for seed in range(3):
            shutil.copytree(runs / "runs" / f"{name}-{seed}", runs / "all" / name / f"seed{seed}")
    metric = ["--metric", "critic/score/mean"]
    assert run("all/paper", "all/grpo", *metric, "--out", "folders").exit_code == 0
    assert run("paper=runs/paper-*", "grpo=runs/grpo-*", *metric, "--out", "patterns").exit_code == 0
    assert (runs / "folders.png").read_bytes() == (runs / "patterns.png").read_bytes()


def test_paper_and_grpo_are_never_one_line_of_seeds(runs):
    """Also not under one name; nor two runs of other weights."""
    for arguments in (["runs"], ["both=runs/*"]):
        error = one_error_line(run(*arguments))
        assert "grpo-0/verl/metrics.jsonl and " in error and "are no seeds of one run: only one of them logs" in error
        assert "Give each run a name, as in paper=" in error
    for name, slope in (("a", 0.002), ("b", 0.004)):
        lines = [{"step": step, "data": {"rest/schedule/args": 0.6 + slope * step}} for step in (1, 2)]
        (runs / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "rest/schedule/args at step 1 is 0.602 and 0.604" in one_error_line(run("same=[ab].jsonl"))
    assert not list(runs.glob("*.png"))


def test_one_run_has_its_regions_in_the_legend_once(runs):
    assert run("ours=runs/paper-1", "--out", "one").exit_code == 0
    said = texts_of(runs / "one.svg")
    assert all(said.count(region) == 1 for region in REGIONS)
    assert "ours (1 seed)" in said and not any("band" in text for text in said)


def test_the_same_logs_give_the_same_files(runs):
    for out in ("first", "second"):
        assert run("paper=runs/paper-*", "runs/grpo-0", "--metric", "critic/score/mean", "--out", out).exit_code == 0
    for kind in ("png", "svg"):
        assert (runs / f"first.{kind}").read_bytes() == (runs / f"second.{kind}").read_bytes()


def test_named_metrics_are_drawn_in_place_of_the_panels_and_smoothing_is_said(runs):
    done = run("runs/paper-0", "--metric", "timing_s/*", "--metric", "actor/grad_norm", "--smooth", 3)
    assert done.exit_code == 0, done.output
    said = texts_of(runs / "plot.svg")
    assert {"timing_s/step", "actor/grad_norm", "training values: mean of 3 steps"} <= set(said)
    assert "Training reward" not in said


@pytest.mark.parametrize("name", ["a $\\frac$ name", "_hidden", "[red]x", "<b>&amp;"])
def test_a_run_may_have_any_name(runs, name):
    done = run(f"{name}=runs/paper-0", "b=runs/grpo-0", "--metric", "critic/score/mean")
    assert done.exit_code == 0, done.output
    assert f"{name} (1 seed)" in texts_of(runs / "plot.svg") and f"{name} (1 seed), steps" in done.stdout


def test_a_run_with_one_step_can_be_drawn(runs):
    write_log(runs / "short.jsonl", 0, steps=1)
    assert run("short.jsonl").exit_code == 0


def test_event_files_of_tensorboard_give_the_picture_of_the_json_lines(runs):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter("tensorboard_log/toy/paper") as writer:
        for line in (runs / "runs" / "paper-0" / "verl" / "metrics.jsonl").open():
            record = json.loads(line)
            for metric, value in record["data"].items():
                writer.add_scalar(metric, math.nan if value is None else value, record["step"])
    outputs = [run(f"same={path}", "--out", out) for path, out in (("tensorboard_log", "t"), ("runs/paper-0", "j"))]
    assert [done.exit_code for done in outputs] == [0, 0]
    assert texts_of(runs / "t.svg") == texts_of(runs / "j.svg")
    assert outputs[0].stdout.splitlines()[2:-1] == outputs[1].stdout.splitlines()[2:-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent"], "absent matches no file and no folder"),
        (["runs/paper-0", "--metric", "critic/scores/mean"], "did you mean 'critic/score/mean'"),
        (["runs/paper-0", "--out", "a.png"], "--out a.png: a PNG and an SVG are written: omit .png"),
        (["other.jsonl"], 'other.jsonl:1: not an object with an object `data`: expected {"step": 1,'),
        (["plain.jsonl"], "nothing to draw: panel 'Training reward' left out: critic/score/mean is not logged"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(runs, arguments, said):
    (runs / "other.jsonl").write_text('{"input": "x"}\n')
    (runs / "plain.jsonl").write_text('{"step": 1, "data": {"train/loss": 1}}\n')
    assert said in one_error_line(run(*arguments))
    assert not list(runs.glob("*.png"))


def test_without_matplotlib_the_error_says_what_to_install(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'rest-verl[plot]'" in one_error_line(run("runs/paper-0"))


def test_the_help_is_quick_since_nothing_heavy_is_imported():
    code = "import sys, rest_verl.commands.plot.command; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert not {"torch", "numpy", "tensorboard", "matplotlib"} & set(done.stdout.split())
