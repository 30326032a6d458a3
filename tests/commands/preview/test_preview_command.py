"""The command `rest-verl preview`, and its chart: everything that moves is on it, and the same settings give the same
file."""

import sys
import xml.etree.ElementTree as ElementTree

import pytest
from command_line import one_error_line
from omegaconf import OmegaConf
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.commands.preview.assumed import ENTROPY, Assumed
from rest_verl.commands.preview.chart import STYLES, draw
from rest_verl.commands.preview.run import Run
from rest_verl.commands.preview.timeline import timeline
from rest_verl.config.rest import load
from rest_verl.core.regions import Region

SCHEME = """
import torch
from rest_verl.weighting.schemes import register_scheme

@register_scheme("by_step", reads=frozenset())
def by_step(batch, settings):
    return torch.full(batch.regions.shape, 0.125 * batch.step)
"""


def preview(*arguments):
    return CliRunner().invoke(app, ["preview", *map(str, arguments)], env={"COLUMNS": "160"})


def cells(done, name):
    """The cells of the first column of the output that has a name."""
    assert done.exit_code == 0, done.output
    found, column = [], None
    for line in done.stdout.split("\n"):
        if "┃" in line and not found:
            names = [cell.strip() for cell in line.strip("┃").split("┃")]
            column = names.index(name) if name in names else None
        elif "│" in line and column is not None:
            found.append(line.strip("│").split("│")[column].strip())
        elif line.startswith("└") and found:
            return found
    raise AssertionError(f"no column {name}")


@pytest.fixture
def config_file(tmp_path):
    """A run's config as Hydra writes it down: interpolations not resolved."""

    def write(rest, estimator="rest"):
        config = {
            "algorithm": {"adv_estimator": estimator, "rollout_correction": {"bypass_mode": False}},
            "trainer": {"use_v1": True, "v1": {"trainer_mode": "rest_sync"}, "total_training_steps": None},
            "actor_rollout_ref": {
                "actor": {"policy_loss": {"loss_mode": "vanilla"}},
                "rollout": {"agent": {"default_agent_loop": "single_turn_agent"}},
            },
            "reward": {"reward_manager": {"name": "rest_tool"}},
            "kind": "linear",
            "rest": rest,
        }
        if estimator != "rest":
            config["trainer"]["v1"]["trainer_mode"] = "sync"
        path = tmp_path / "config.yaml"
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
        return path

    return write


def test_overrides_are_those_of_verl_s_command(tmp_path):
    done = preview("--steps", "1,50", "--out", tmp_path / "p", "--", "+rest=paper", "rest.weights.think.slope=0.004")
    assert cells(done, "think") == ["0.604", "0.800"]
    assert cells(done, "name") == ["1.200", "1.200"]
    assert cells(done, "format") == ["1.000", "1.000"]
    assert {path.name for path in tmp_path.iterdir()} == {"p.png", "p.svg"}
    assert "--total-steps N sets it" in done.stdout


def test_entropies_are_those_that_are_said(tmp_path):
    entropies = "format=0.04,name=0.03,args=0.05,think=0.14"
    done = preview("--total-steps", 105, "--entropy", entropies, "--out", tmp_path / "p", "--", "+rest=entropy")
    assert "format 0.04, name 0.03, args 0.05, think 0.14, response 0.9" in done.stdout
    assert cells(done, "lam")[-1] == "1.000"
    assert cells(done, "think")[-1] == cells(done, "args")[-1] == "1.200"


def test_an_earlier_run_s_config_file_does_as_well(config_file):
    path = config_file({"scheme": "entropy", "curriculum": {"kind": "${kind}"}})
    done = preview("--config", path, "--no-plot", "--total-steps", "8", "--steps", "2,4,8")
    assert cells(done, "lam") == ["0.250", "0.500", "1.000"]
    assert "every token has the entropy of its region" in done.stdout


def test_a_run_that_ends_before_its_ramps_is_told_so(config_file):
    done = preview("--config", config_file({}), "--no-plot", "--total-steps", "105")
    assert "rest.weights.think ends at 0.81: its limit 1 would be reached at step 200" in done.stdout


def test_a_scheme_of_the_user_s_own_is_previewed(config_file, tmp_path, monkeypatch, own_names):
    (tmp_path / "schemes_of_a_user.py").write_text(SCHEME)
    monkeypatch.syspath_prepend(tmp_path)
    path = config_file(
        {"scheme": "by_step", "modules": ["schemes_of_a_user"], "weights_from": "token", "normalisation": "none"}
    )
    done = preview("--config", path, "--no-plot", "--steps", "2,8")
    assert cells(done, "other") == ["0.250", "1.000"]


def test_a_run_without_weights_is_told_in_one_line_and_its_reward_is_shown(config_file):
    done = preview("--config", config_file({}, estimator="grpo"), "--no-plot", "--steps", "75")
    assert "algorithm.adv_estimator=grpo: this run weights no tokens; add +rest=paper for ResT" in done.stdout
    assert "before normalisation" not in done.stdout
    assert cells(done, "score") == ["-3.50 to 4.00"]


def test_many_steps_fit_into_80_columns(tmp_path):
    steps = ",".join(str(100 * step) for step in range(1, 13))
    done = CliRunner().invoke(
        app, ["preview", "--no-plot", "--steps", steps, "--", "+rest=paper"], env={"COLUMNS": "80"}
    )
    assert cells(done, "args")[::11] == ["0.800", "1.200"]
    assert max(len(line) for line in done.stdout.split("\n") if line[:1] in "┃│") <= 80
    assert "before it can run: actor_rollout_ref.rollout.name has no value" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either the overrides of a run, such as +rest=paper, or --config FILE"),
        (["--steps", "1,x", "+rest=paper"], "--steps 'x': expected whole numbers"),
        (["--tokens", "thnk=2", "+rest=paper"], "unknown region 'thnk': did you mean 'think'?"),
        (["+rest=papr"], "papr"),
        (["+rest=paper", "rest.weights.thnk.slope=1"], "did you mean think"),
        (["+rest=paper", "rest.alpha=2"], "rest.alpha is set, but rest.scheme=paper does not read it"),
        (["--entropy", "think=1", "+rest=paper"], "rest.scheme=paper uses no entropy: drop it"),
        (["+rest=entropy"], "give --total-steps"),
        (["--config", "absent.yaml"], "absent.yaml"),
    ],
)
def test_what_does_not_do_is_one_line_that_says_what_to_change(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in one_error_line(preview(*arguments))


@pytest.mark.parametrize("text", ["[1, 2]", "a: 1", "a: [", "\x00"])
def test_a_file_that_is_no_config_of_a_run_is_refused(text, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    assert f"--config {path}" in one_error_line(preview("--config", path))


def test_without_matplotlib_the_remedy_comes_before_any_work(config_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = preview("--config", config_file({}), "--out", tmp_path / "p", "--steps", "1")
    assert "pip install 'rest-verl[plot]'" in one_error_line(done) and done.stdout == ""
    without = preview("--config", config_file({}), "--no-plot", "--steps", "1")
    assert "weight before normalisation" in without.stdout


def drawn(path, rest, total=20, estimator="rest"):
    run = Run(load({"rest": rest}), estimator, "rest_tool", total)
    found = timeline(run, Assumed([{Region.NAME: 2, Region.THINK: 5}], ENTROPY), None)
    return draw(found, "a $ title", path)


def texts_of(path):
    """What an SVG says: each text stands in it as a comment beside its outlines."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    return [node.text.strip() for node in ElementTree.parse(path, parser).iter() if node.tag is ElementTree.Comment]


@pytest.mark.parametrize(
    ("rest", "estimator", "panels"),
    [
        ({}, "rest", ["weight before normalisation", "normalised (5 think, 2 name)", "bounds of the reward"]),
        ({"normalisation": "none"}, "rest", ["weight before normalisation", "bounds of the reward"]),
        (
            {"scheme": "token"},
            "rest",
            [
                "weight before normalisation",
                "normalised (5 think, 2 name)",
                "curriculum linear",
                "bounds of the reward",
            ],
        ),
        ({}, "grpo", ["bounds of the reward"]),
    ],
)
def test_there_is_a_panel_for_each_thing_that_moves(tmp_path, rest, estimator, panels):
    png, svg = drawn(tmp_path / "preview", rest, estimator=estimator)
    assert png.read_bytes().startswith(b"\x89PNG")
    said = texts_of(svg)
    assert [text for text in said if text.startswith(("weight b", "norm", "curr", "bounds"))] == panels
    assert "a $ title" in said and {"format", "correctness"} <= set(said)


def test_where_lam_follows_the_entropy_the_axis_is_what_is_left_of_it(tmp_path):
    _, svg = drawn(tmp_path / "preview", {"scheme": "entropy", "curriculum": {"kind": "adaptive"}}, total=None)
    assert texts_of(svg).count("structure entropy left, in % of the first step's") == 3


def test_the_same_settings_give_the_same_files(tmp_path):
    first = [file.read_bytes() for file in drawn(tmp_path / "first", {})]
    assert first == [file.read_bytes() for file in drawn(tmp_path / "second", {})]


def test_regions_differ_in_colour_and_neighbours_in_dashes():
    assert set(STYLES) == set(Region)
    assert len({style.color for style in STYLES.values()}) == len(Region)
    assert STYLES[Region.ARGS].dashes != STYLES[Region.THINK].dashes  # of one weight in the paper's run
    assert STYLES[Region.RESPONSE].dashes != STYLES[Region.OTHER].dashes
