"""The page in a real browser: what a reader clicks and reads is what stands in the records."""

import random

import numpy as np
import pytest
from browser import Viewer, contrast
from chromium import MISSING, chromium
from record_tables import Part, record, records_of, step_rows

from rest_verl.viewer.page import PageStep, page_of
from rest_verl.viewer.step_data import step_data

pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

STEPS = (1, 100, 300)
NUMBERS = ("entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob")
ROWS = {step: step_rows(step, groups=6, group_size=4) for step in STEPS}


def write_page(path, rows_by_step):
    steps = [PageStep(step, len(rows), 0, step_data(records_of(rows, step))) for step, rows in rows_by_step.items()]
    path.write_text(page_of("a run", steps), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "inspect.html", ROWS)


@pytest.fixture
def open_page(browser):
    opened = []

    def open_it(file, view="", **options):
        opened.append(Viewer(browser, file, view, **options))
        return opened[-1]

    yield open_it
    for viewer in opened:
        assert viewer.faults == []
        viewer.page.close()


def shown(number):
    """A score as the page writes it."""
    return f"{number:.3f}".replace("-", "\u2212")


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
    viewer.page.fill("#filter", "LIMA")
    assert viewer.groups() == ["group-4"]
    viewer.page.fill("#filter", "nowhere")
    assert viewer.texts("#groups") == ["No prompt has this text."]


def test_of_what_the_agent_loop_counted_zeros_are_left_out(open_page, tmp_path):
    reward = [("score", 0.5), ("acc", 0.0), ("rollout/calls", 2.0), ("rollout/tool_errors/timeout", 0.0)]
    reward += [("rollout/ended_by/done", 0.0), ("rollout/ended_by/steps", 1.0)]
    row = record([Part("hello")], score=0.5) | {"reward": reward}
    viewer = open_page(write_page(tmp_path / "inspect.html", {1: [row]}), "row=0")
    names, values = viewer.texts("#main .facts dt"), viewer.texts("#main .facts dd")
    assert dict(zip(names[-3:], values[-3:], strict=True)) == {"acc": "0.000", "calls": "2.000", "ended by": "steps"}
    assert "score" not in names


def check_panel(panel, row, place):
    for name in NUMBERS:
        assert np.float32(float(panel[name])) == np.float32(row[name][place]), name
    weighted = np.float32(row["weight"][place]) * np.float32(row["advantage"][place])
    assert np.float32(float(panel["weighted"])) == weighted
    gap = np.float32(row["rollout_log_prob"][place]) - np.float32(row["old_log_prob"][place])
    assert np.float32(float(panel["gap"])) == gap
    assert panel["id"] == str(row["ids"][place]) and panel["region"] == row["region"][place]
    assert bytes.fromhex(panel["bytes"]) == row["bytes"][place]
    assert panel["kind"] == ("generated, trained" if row["generated"][place] else "not generated")


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
        viewer.page.wait_for_function(
            "count => document.querySelectorAll('#main .t').length === count", arg=len(ROWS[300][number]["ids"])
        )
        for i, panel in viewer.page.evaluate(read_all):
            check_panel(panel, ROWS[300][number], i - begins[number])
            seen += 1
    assert seen == sum(len(ROWS[300][number]["ids"]) for number in (0, 7, 23))


def test_keys_walk_through_the_tokens_and_pass_over_what_is_folded(open_page, file):
    number = next(number for number, row in enumerate(ROWS[1]) if len(row["turns"]) > 1)
    row = ROWS[1][number]
    viewer = open_page(file, f"step=1&row={number}")
    viewer.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    check_panel(viewer.panel(), row, 1)
    viewer.page.click(f".turn >> nth=0 >> .t >> nth={row['turns'][0]['end'] - 1}")
    viewer.press("ArrowRight")
    check_panel(viewer.panel(), row, row["turns"][1]["begin"])
    assert viewer.page.locator(".t.pinned").count() == 1


def test_turns_calls_and_what_tools_said_are_folded_and_unfolded(open_page, file):
    number = next(number for number, row in enumerate(ROWS[1]) if len(row["turns"]) == 3)
    row = ROWS[1][number]
    viewer = open_page(file, f"step=1&row={number}")
    folds = "#main details"
    assert viewer.page.locator(".turn[open]").count() == 3
    assert viewer.page.locator(".heard[open], .call[open], .prompt[open]").count() == 0
    assert viewer.page.locator(".heard .t").count() == 0  # made only when it is opened
    viewer.page.click(".heard >> nth=0 >> summary")
    first, second = row["turns"][:2]
    said = b"".join(row["bytes"][first["end"] : second["begin"]]).decode()
    # what is folded is made, and then laid out, after the click
    viewer.page.wait_for_function("document.querySelector('.heard .tokens')?.innerText.trim()")
    assert viewer.page.locator(".heard .tokens").first.inner_text().replace("↵", "").strip() == said.strip()
    viewer.page.click(".call >> nth=0 >> summary")
    viewer.page.wait_for_selector(".call .text")
    call = first["calls"][0]
    assert viewer.texts(".call >> nth=0 >> .text") == [call["arguments"], call["result"]]
    viewer.press("f")
    assert viewer.page.locator(f"{folds}:not([open])").count() == 0
    viewer.press("f")
    assert viewer.page.locator(f"{folds}[open]").count() == 0


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


def test_an_open_trajectory_stays_open_over_the_steps(open_page, file):
    viewer = open_page(file, "step=1&row=9")
    viewer.press("]")
    viewer.wait_for_step(100)
    assert viewer.view()["row"] == "9"
    assert viewer.texts(".big strong") == [shown(ROWS[100][9]["score"])]
    viewer.press("[")
    viewer.wait_for_step(1)


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


def test_a_region_of_the_legend_dims_the_others(open_page, file):
    viewer = open_page(file, "step=1&row=0")
    ground = "selector => getComputedStyle(document.querySelector(selector)).backgroundColor"
    before = {region: viewer.page.evaluate(ground, f"#main .in-{region}") for region in ("think", "format")}
    viewer.page.click('#legend tr[data-region="think"] button')
    assert viewer.page.evaluate(ground, "#main .in-think") == before["think"]
    assert viewer.page.evaluate(ground, "#main .in-format") == "rgba(0, 0, 0, 0)" != before["format"]
    assert viewer.page.locator("#main .head .strip .faded").count() > 0
    viewer.page.click('#legend tr[data-region="think"] button')
    assert viewer.page.evaluate(ground, "#main .in-format") == before["format"]
    assert viewer.page.locator("#main .head .strip .faded").count() == 0


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


def test_the_theme_follows_the_system_until_it_is_chosen(open_page, file):
    def ground(viewer):
        return viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")

    dark, light = open_page(file, color_scheme="dark"), open_page(file, color_scheme="light")
    assert (ground(dark), ground(light)) == ("rgb(22, 24, 28)", "rgb(255, 255, 255)")
    light.press("t", "t")
    assert ground(light) == ground(dark) and light.view()["theme"] == "dark"
    light.press("t")
    assert "theme" not in light.view()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_every_colour(open_page, file, theme):
    viewer = open_page(file, f"step=1&row=0&theme={theme}")
    found = viewer.page.evaluate("""() => {
        const span = document.querySelector("#main .t");
        const tones = ["other", "think", "response", "format", "args", "name", "weight", "entropy", "minus", "plus"];
        return tones.map((tone) => {
            span.className = `t in-think c-${tone} q20`;
            const style = getComputedStyle(span);
            return [tone, style.color, getComputedStyle(document.body).backgroundColor, style.backgroundColor];
        });
    }""")
    for tone, text, *grounds in found:
        assert contrast(text, *grounds) >= 4.5, tone
        assert contrast(grounds[0], *grounds) >= 1.5, tone  # and the colour itself is seen


def test_regions_differ_in_more_than_colour(open_page, file):
    viewer = open_page(file, "step=1&row=0")
    lines = viewer.page.evaluate("""() => ["other", "think", "response", "format", "args", "name"].map((region) => {
        const style = getComputedStyle(document.querySelector(`#legend tr[data-region="${region}"] .swatch`));
        return [style.textDecorationLine, style.textDecorationStyle, style.textDecorationThickness].join(" ");
    })""")
    assert len(set(lines)) == 6


def test_everything_can_be_done_without_a_mouse(open_page, file):
    viewer = open_page(file)
    order = viewer.rows()
    viewer.press("j", "j", "k", "j")
    assert viewer.view()["row"] == str(order[1])
    viewer.press("n")
    assert viewer.view()["row"] == str(order[4])
    viewer.press("p")
    assert viewer.view()["row"] == str(order[0])
    viewer.press("?")
    assert viewer.page.is_visible("#help")
    viewer.press("j", "Escape")
    assert not viewer.page.is_visible("#help") and viewer.view()["row"] == str(order[0])
    viewer.press("Escape")
    assert "row" not in viewer.view() and viewer.page.locator(".wide").count() == len(order)
    viewer.page.focus(".wide >> nth=2")
    viewer.press("Enter")
    assert viewer.view()["row"] == str(order[2])
    viewer.page.focus("#filter")
    viewer.press("j", "1")
    assert viewer.page.input_value("#filter") == "j1" and viewer.view()["row"] == str(order[2])


def test_every_control_has_a_name(open_page, file):
    viewer = open_page(file, "step=1&row=0")
    nameless = viewer.page.evaluate("""() => [...document.querySelectorAll("button, input, select")]
        .filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label") && !one.labels?.length)
        .map((one) => one.outerHTML)""")
    assert nameless == []


def test_a_link_opens_the_same_view_again(open_page, file):
    viewer = open_page(file, "step=300&row=6&mode=gap&theme=dark")
    assert viewer.view() == {"step": "300", "row": "6", "mode": "gap", "theme": "dark"}
    assert viewer.texts(".big strong") == [shown(ROWS[300][6]["score"])]
    nonsense = open_page(file, "step=7&row=999&mode=none&theme=pink")
    assert nonsense.view() == {"step": "1", "mode": "region"}


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


HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)><iframe src='https://example.org'></iframe>"
    "<object data=x></object><style>*{display:none}</style><a href='javascript:alert(3)'>"
    "\u202egnp.exe\u202c\u2066\u200b&lt;b&gt;${alert(4)}{{7*7}}<!--\u2028\u2029\ufeff\x00\x1b[31m"
)


def test_hostile_text_is_text(open_page, tmp_path):
    call = {"name": HOSTILE, "arguments": HOSTILE, "result": HOSTILE, "error": HOSTILE, "seconds": 0.0}
    parts = [Part(HOSTILE, "think"), Part(b"\xed\xa0\x80\xff\xc0\xaf", "args"), Part(HOSTILE, generated=False)]
    row = record(parts, uid=HOSTILE, prompt=HOSTILE, picked=HOSTILE, data_source=HOSTILE)
    row["reward"] = [(HOSTILE, 1.0)]
    row["turns"][0]["calls"] = [call]
    viewer = open_page(write_page(tmp_path / "page.html", {1: [row]}), "step=1&row=0")
    viewer.press("f", "ArrowRight", "1", "2", "3")
    viewer.page.wait_for_selector(".heard .t", state="attached")
    viewer.page.hover("#main .t >> nth=3")
    text = viewer.page.inner_text("body")
    assert "<script>alert(1)</script>" in text.replace("\n", "") and "${alert(4)}{{7*7}}<!--" in text
    for mark in ("⟨U+202E⟩", "⟨U+2066⟩", "⟨U+200B⟩", "⟨U+2028⟩", "⟨U+FEFF⟩", "⟨U+0000⟩", "⟨U+001B⟩", "\\xed", "\\xff"):
        assert mark in text
    everything = viewer.page.evaluate("document.body.textContent")
    assert not set("\u202e\u202c\u2066\u200b\u2028\ufeff\x00\x1b") & set(everything)
    assert viewer.page.locator("img, iframe, object, #main style, #main a, #groups a").count() == 0
    assert viewer.page.locator("body script").count() == 3  # manifest, one step, the page's own
    viewer.press("Escape")
    assert "<iframe" in viewer.page.inner_text("#main")


def test_marks_of_a_right_to_left_token_do_not_turn_its_neighbours_round(open_page, tmp_path):
    row = record([Part("one"), Part("שלום"), Part("two")], tokenise=lambda text: [text.encode()])
    viewer = open_page(write_page(tmp_path / "page.html", {1: [row]}), "step=1&row=0")
    boxes = [viewer.page.locator("#main .t").nth(place).bounding_box()["x"] for place in range(3)]
    assert boxes == sorted(boxes)


def test_a_long_text_without_line_breaks_is_whole(open_page, tmp_path):
    row = record([Part("word " * 5000, "think"), Part("\n\nend", "response")])
    viewer = open_page(write_page(tmp_path / "page.html", {1: [row]}), "step=1&row=0")
    assert viewer.page.locator("#main .t").count() == len(row["ids"])
    text = viewer.page.locator("#main .tokens").evaluate("one => one.textContent")
    # of the two line breaks one is where the next block begins
    assert text.replace("↵", "") == "word " * 5000 + "\nend"
    assert viewer.page.locator("#main .chunk").count() == 2
