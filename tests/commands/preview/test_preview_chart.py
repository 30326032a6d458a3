"""The chart of a preview: everything that moves is on it, and the same settings give the same file."""

import xml.etree.ElementTree as ElementTree

import pytest

from rest_verl.commands.preview.assumed import ENTROPY, Assumed
from rest_verl.commands.preview.chart import STYLES, draw
from rest_verl.commands.preview.run import Run
from rest_verl.commands.preview.timeline import timeline
from rest_verl.config.rest import load
from rest_verl.core.regions import Region


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
