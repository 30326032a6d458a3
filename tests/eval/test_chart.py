import xml.etree.ElementTree as ElementTree

import pytest

from rest_verl.eval.chart import draw_bars
from rest_verl.eval.statistics import Estimate


def texts_of(path):
    """What an SVG says: each text stands in it as a comment beside its outlines."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    return [node.text.strip() for node in ElementTree.parse(path, parser).iter() if node.tag is ElementTree.Comment]


def test_every_score_of_both_models_is_drawn_whatever_the_models_are_called(tmp_path):
    models = {
        "a $\\frac$ name": {"x": Estimate(0.125, 0.01, 9), "y": Estimate(1.0000000000000002, 0.0, 9)},
        "b_1": {"x": Estimate(0.0, 0.0, 9), "y": Estimate(0.975, None, 1)},
    }
    png, svg = draw_bars(models, [["x"], ["y"]], "a $ against b", tmp_path / "chart")
    assert png.read_bytes().startswith(b"\x89PNG")
    said = texts_of(svg)
    assert said.index("x") < said.index("y")
    assert {"12.5", "100.0", "0.0", "97.5", "a $ against b", *models} <= set(said)


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_a_chart_of_one_model_has_no_legend(tmp_path, mean):
    _, svg = draw_bars({"only": {"x": Estimate(mean, 0.4, 2)}}, [["x"]], "title", tmp_path / "chart")
    assert "only" not in texts_of(svg)
