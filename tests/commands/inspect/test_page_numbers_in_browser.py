"""The page in a real browser: what a reader sees is what stands in the records."""

import random

import numpy as np
import pytest
from browser import MISSING
from record_tables import NUMBERS, ROWS, STEPS, Part, check_panel, record, shown, write_page

pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


def groups_of(rows):
    """By uid: the scores of the whole group and the lengths of its rows."""
    found = {}
    for row in rows:
        found.setdefault(row["uid"], (row["group_scores"], []))[1].append(len(row["ids"]))
    return found


SORTED_BY = {
    "reward": lambda scores, lengths: np.mean(scores),
    "spread": lambda scores, lengths: np.std(scores),
    "length": lambda scores, lengths: np.mean(lengths),
}


@pytest.mark.parametrize("key", SORTED_BY)
def test_groups_are_sorted_by_what_is_chosen_in_both_directions(open_page, file, key):
    viewer, groups = open_page(file), groups_of(ROWS[1])
    smallest_first = sorted(groups, key=lambda uid: SORTED_BY[key](*groups[uid]))
    assert viewer.groups() == list(groups)
    viewer.page.select_option("#sort", key)
    assert viewer.groups() == smallest_first[::-1]
    viewer.page.click("#direction")
    assert viewer.groups() == smallest_first
    viewer.page.select_option("#sort", "file")
    assert viewer.groups() == list(groups)


def test_in_a_group_the_best_trajectory_is_first(open_page, file):
    viewer = open_page(file)
    places = sorted(range(4), key=lambda place: -ROWS[1][place]["score"])
    assert viewer.rows()[:4] == places


def test_a_filter_leaves_the_prompts_that_hold_its_text(open_page, file):
    viewer = open_page(file)
    viewer.page.fill("#filter", "CHEAPEST FLIGHT")
    assert viewer.groups() == ["group-3"]
    viewer.page.fill("#filter", "nowhere")
    assert viewer.texts("#groups") == ["No trajectory is as wanted."]


def test_of_what_the_agent_loop_counted_zeros_are_left_out(open_page, tmp_path):
    reward = [("score", 0.5), ("acc", 0.0), ("rollout/calls", 2.0), ("rollout/tool_errors/timeout", 0.0)]
    reward += [("rollout/ended_by/done", 0.0), ("rollout/ended_by/steps", 1.0)]
    row = record([Part("hello")], score=0.5) | {"reward": reward}
    viewer = open_page(write_page(tmp_path / "inspect.html", {1: [row]}), "row=0")
    names, values = viewer.texts("#main .facts dt"), viewer.texts("#main .facts dd")
    assert dict(zip(names[-3:], values[-3:], strict=True)) == {"acc": "0.000", "calls": "2.000", "ended by": "steps"}
    assert "score" not in names


def test_hovering_shows_the_numbers_of_the_table_exactly(open_page, file):
    rng = random.Random(0)
    begins = np.cumsum([0, *(len(row["ids"]) for row in ROWS[100])])
    viewer = open_page(file, "step=100&row=5")
    row, begin = ROWS[100][5], begins[5]
    for place in rng.sample([place for place, flag in enumerate(row["generated"]) if flag], 12):
        viewer.page.hover(f'.t[data-i="{begin + place}"]')
        check_panel(viewer.panel(), row, place)
        assert f"id {row['ids'][place]}" in viewer.texts("#tip")[0]
    viewer.page.hover("#step-label")
    assert not viewer.page.is_visible("#tip")


def test_every_token_of_every_trajectory_shows_its_own_numbers(open_page, file):
    begins = np.cumsum([0, *(len(row["ids"]) for row in ROWS[300])])
    viewer = open_page(file, "step=300")
    read_all = """() => [...document.querySelectorAll("#main .t[data-i]")].map((span) => {
        span.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
        const cells = [...document.querySelectorAll("#panel dd")].map((cell) => [cell.dataset.name, cell.textContent]);
        return [Number(span.dataset.i), Object.fromEntries(cells)];
    })"""
    seen = 0
    for number in (0, 7, 23):
        viewer.page.click(f'.card[data-row="{number}"]')
        viewer.press("f")
        viewer.expect("#main .t").to_have_count(len(ROWS[300][number]["ids"]))
        for i, panel in viewer.page.evaluate(read_all):
            check_panel(panel, ROWS[300][number], i - begins[number])
            seen += 1
    assert seen == sum(len(ROWS[300][number]["ids"]) for number in (0, 7, 23))


def test_the_slider_shows_each_step_with_its_own_numbers(open_page, file):
    viewer = open_page(file)
    viewer.page.focus("#step")
    for step in STEPS[1:]:
        viewer.press("ArrowRight")
        viewer.wait_for_step(step)
        assert viewer.texts("#step-label") == [f"step {step}"]
        best = max(row["score"] for row in ROWS[step][:4])
        assert viewer.texts(".card >> nth=0 >> .score") == [shown(best)]
    viewer.page.click("#step-back")
    viewer.wait_for_step(100)


def test_the_legends_means_are_numpys(open_page, file):
    viewer = open_page(file, "step=100&row=2")

    def check(rows):
        region = np.concatenate([row["region"] for row in rows])
        trained = np.concatenate([row["trained"] for row in rows])
        values = {name: np.float32(np.concatenate([row[name] for row in rows])) for name in NUMBERS}
        values["gap"] = np.abs(values["rollout_log_prob"] - values["old_log_prob"])
        for name in ("name", "args", "format", "response", "think", "other"):
            chosen = (region == name) & trained
            cells = viewer.page.locator(f'#legend tr[data-region="{name}"] td')
            assert cells.all_text_contents()[0] == f"{chosen.sum():,}"
            for quantity in ("weight", "entropy", "advantage", "gap"):
                mean = viewer.page.get_attribute(
                    f'#legend tr[data-region="{name}"] [data-name="{quantity}"]', "data-value"
                )
                if chosen.any():
                    assert float(mean) == pytest.approx(values[quantity][chosen].mean(dtype=np.float64), rel=1e-12)
                else:
                    assert mean == "null"

    check(ROWS[100])
    viewer.page.click("#scope-one")
    check([ROWS[100][2]])
    viewer.press("Escape")
    check(ROWS[100])


def test_tiny_means_keep_the_legend_in_its_pane(open_page, tmp_path):
    tokens = 24
    row = record([Part("word " * tokens, "think")], score=0.5)
    tiny = {"advantage": [-2.9e-8] * len(row["ids"]), "rollout_log_prob": [one - 3e-7 for one in row["old_log_prob"]]}
    viewer = open_page(write_page(tmp_path / "inspect.html", {1: [row | tiny]}))
    *_, advantage, gap = viewer.texts('tr[data-region="think"] td')
    assert (advantage, gap) == ("0.000", "3e\u22127")
    assert viewer.page.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('aside.side'))")


def test_modes_colour_by_their_quantity_and_say_where_the_colours_end(open_page, file):
    viewer = open_page(file, "step=1&row=0")
    row = ROWS[1][0]
    trained = [
        np.float32(entropy)
        for row in ROWS[1]
        for entropy, flag in zip(row["entropy"], row["trained"], strict=True)
        if flag
    ]
    top = np.quantile(np.float64(trained), 0.99)
    viewer.press("3")
    assert viewer.texts(".ends span")[-1] == f"≥ {top:.3f}"
    levels = viewer.page.eval_on_selector_all(
        "#main .turn .t", "all => all.map(span => Number(/ q(\\d+)/.exec(span.className)[1]))"
    )
    generated = [entropy for entropy, flag in zip(row["entropy"], row["generated"], strict=True) if flag]
    assert levels == [max(1, int(20 * min(1, np.float32(entropy) / top) + 0.5)) for entropy in generated]
    viewer.press("4")
    assert viewer.page.locator("#main .turn .t.c-plus, #main .turn .t.c-minus").count() == len(generated)
    assert viewer.view()["mode"] == "advantage"
    assert viewer.page.get_attribute('#modes [data-mode="advantage"]', "aria-pressed") == "true"


def test_what_was_not_computed_is_said_so_and_no_step_means_no_slider(open_page, tmp_path):
    row = record([Part("ab")], entropy=None, rollout_log_prob=[None], advantage=[float("nan")])
    viewer = open_page(
        write_page(tmp_path / "page.html", {1: [row | {"score": None, "group_scores": []}]}), "row=0&step=1"
    )
    viewer.press("ArrowRight")
    panel = viewer.panel()
    assert (panel["entropy"], panel["gap"], panel["advantage"]) == ("not computed", "not computed", "NaN")
    assert not viewer.page.is_visible("#step")
    viewer.press("3", "4", "5")


def test_groups_without_a_score_come_last_whatever_the_direction(open_page, tmp_path):
    scores = {"a": [], "b": [1.0, 2.0], "c": [3.0, 5.0]}
    rows = [record([Part("x")], uid=uid) | {"score": None, "group_scores": given} for uid, given in scores.items()]
    viewer = open_page(write_page(tmp_path / "page.html", {1: rows}))
    viewer.page.select_option("#sort", "reward")
    assert viewer.groups() == ["c", "b", "a"]
    viewer.page.click("#direction")
    assert viewer.groups() == ["b", "c", "a"]


def test_what_rounding_leaves_of_zero_has_no_sign(open_page, tmp_path):
    """Advantages of a group sum to zero, up to the last bit: no colour of a sign, and 0.000 in the turn's line."""
    row = record([Part("one two three", "think")], tokenise=lambda text: text.encode().split())
    rows = [row | {"advantage": [-2.7e-8] * 3}, row | {"session": 1, "advantage": [1.0, -0.5, 0.25]}]
    viewer = open_page(write_page(tmp_path / "page.html", {1: rows}), "step=1&row=0&mode=advantage")
    assert viewer.page.locator("#main .t.c-other.q0").count() == 3
    assert viewer.texts(".turn .aside")[0].endswith("advantage 0.000")
