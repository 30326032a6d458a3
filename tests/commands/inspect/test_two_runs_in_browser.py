"""Two runs side by side in a real browser: prompts, trajectories and tokens of both, and what they differ in."""

import pytest
from browser import MISSING
from record_tables import Part, record, records_of, shown

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data

pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


def pair_page(path):
    """Two prompts; of the first the second run has two trajectories, of the second it has none."""

    def row(text, uid, prompt, session, score, scores, advantage=0.0):
        made = record(
            [Part(text, "think")], uid, session, score, scores, prompt, tokenise=lambda text: text.encode().split()
        )
        return made | {"advantage": [advantage] * len(made["ids"])}

    first = [
        row("alone", "b", "Oslo?", 0, 2.0, [2.0]),
        row("one two three", "a", "Paris?", 1, 1.0, [1.0, 3.0], 0.25),
    ]
    second = [
        row("four five", "x", "Paris?", 0, 0.5, [0.5, 0.0]),
        row("six seven", "x", "Paris?", 1, 0.0, [0.5, 0.0], -0.5),
    ]
    data = step_data(records_of(first, 1), records_of(second, 1))
    path.write_text(render_page("A | B", [PageStep(1, 4, 0, data)], ["A", "B"]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return pair_page(tmp_path_factory.mktemp("pair") / "page.html")


def test_the_same_prompt_of_two_runs_stands_side_by_side(open_page, pair):
    """Beside a trajectory stands the one with its number in the other run; the first run is always on the left."""
    viewer = open_page(pair, "step=1&row=1")
    assert viewer.texts(".half .run strong") == ["A", "B"]
    assert viewer.texts(".half .big strong") == [shown(1.0), shown(0.0)]
    assert [text.replace("·", "").split() for text in viewer.texts(".half .tokens")] == [["onetwothree"], ["sixseven"]]
    advantages = [text.partition("advantage ")[2] for text in viewer.texts(".half .turn .aside")]
    assert advantages == [shown(0.25), shown(-0.5)]
    viewer.page.click(".card[data-row='2']")
    assert viewer.texts(".half .run strong") == ["A", "B"]
    assert viewer.texts(".half .big strong") == [shown(1.0), shown(0.5)]


def test_the_other_run_shows_another_trajectory_and_the_address_keeps_it(open_page, pair):
    viewer = open_page(pair, "step=1&row=1")
    viewer.press("b")
    assert viewer.texts(".half .big strong") == [shown(1.0), shown(0.5)]
    assert viewer.view()["beside"] == "2"
    viewer.page.select_option(".half >> nth=1 >> .run select", "3")
    assert viewer.texts(".half .big strong") == [shown(1.0), shown(0.0)]
    again = open_page(pair, "step=1&row=1&beside=2")
    assert again.texts(".half .big strong") == [shown(1.0), shown(0.5)]


def test_a_prompt_of_one_run_alone_says_so(open_page, pair):
    viewer = open_page(pair, "step=1&row=0")
    assert viewer.texts(".half .run") == ["A" + viewer.page.inner_text(".half .run select"), "B"]
    assert viewer.texts(".half .empty") == ["It has no trajectory of this prompt here."]


def test_a_token_of_either_run_has_its_numbers_and_its_address(open_page, pair):
    viewer = open_page(pair, "step=1&row=1")
    viewer.page.click(".half >> nth=1 >> .t >> nth=1")
    assert (viewer.panel()["bytes"], float(viewer.panel()["advantage"])) == (b"seven".hex(" "), -0.5)
    viewer.press("ArrowLeft")
    assert viewer.panel()["bytes"] == b"six".hex(" ")
    view = viewer.view()
    assert (view["row"], view["beside"], view["side"], view["token"]) == ("1", "3", "beside", "0")
    again = open_page(pair, "step=1&row=1&beside=3&side=beside&token=1")
    assert again.panel()["bytes"] == b"seven".hex(" ")
    viewer.page.click(".half >> nth=0 >> .t >> nth=2")
    assert viewer.panel()["bytes"] == b"three".hex(" ") and "side" not in viewer.view()


def test_prompts_are_sorted_by_what_the_runs_differ_in(open_page, pair):
    """Means 0.25 - 2 of the first prompt; without scores on one side there is no difference, which comes last."""
    viewer = open_page(pair)
    assert viewer.texts(".group .numbers > span:not(.dots)") == [
        *("A: mean 2.000", "B: none", "A: mean 2.000", "B: mean 0.250"),
    ]
    assert viewer.groups() == ["b", "a"]
    viewer.page.select_option("#sort", "difference")
    assert viewer.groups() == ["a", "b"]
    viewer.page.click("#direction")
    assert viewer.groups() == ["a", "b"]


@pytest.mark.parametrize(("width", "columns"), [(1400, 2), (800, 2), (500, 1)])
def test_two_runs_fit_into_any_width(open_page, pair, width, columns):
    viewer = open_page(pair, "step=1&row=1")
    viewer.page.set_viewport_size({"width": width, "height": 900})
    boxes = [viewer.page.locator(".half").nth(place).bounding_box() for place in range(2)]
    assert (boxes[0]["y"] == boxes[1]["y"]) == (columns == 2)
    assert max(box["x"] + box["width"] for box in boxes) <= width
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= width


def test_one_run_has_no_controls_for_two(open_page, file):
    viewer = open_page(file, "step=1&row=0")
    assert viewer.page.locator(".half, .pair, body.two").count() == 0
    assert "by difference" not in viewer.texts("#sort option")
    assert "next trajectory of the other run" not in viewer.texts("#keys dd")
