"""The page in a real browser: mouse, keys, links and colours; text of any kind is shown as text, whole and in
order."""

import json
import re

import numpy as np
import pytest
from browser import MISSING, contrast
from record_tables import NUMBERS, ROWS, Part, check_panel, record, shown, write_page

pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


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
    viewer.expect(".heard .tokens >> nth=0").to_have_text(re.compile(r"\S"), use_inner_text=True)
    assert viewer.page.locator(".heard .tokens").first.inner_text().replace("↵", "").strip() == said.strip()
    viewer.page.click(".call >> nth=0 >> summary")
    viewer.page.wait_for_selector(".call .text")
    call = first["calls"][0]
    assert viewer.texts(".call >> nth=0 >> .text") == [call["arguments"], call["result"]]
    viewer.press("f")
    assert viewer.page.locator(f"{folds}:not([open])").count() == 0
    viewer.press("f")
    assert viewer.page.locator(f"{folds}[open]").count() == 0


def test_an_open_trajectory_stays_open_over_the_steps(open_page, file):
    viewer = open_page(file, "step=1&row=9")
    viewer.press("]")
    viewer.wait_for_step(100)
    assert viewer.view()["row"] == "9"
    assert viewer.texts(".big strong") == [shown(ROWS[100][9]["score"])]
    viewer.press("[")
    viewer.wait_for_step(1)


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


def test_trajectories_are_found_by_response_tool_source_and_score(open_page, file):
    viewer, rows = open_page(file, "step=1"), ROWS[1]
    shown_cards = "cards => cards.filter((card) => !card.hidden).map((card) => Number(card.dataset.row))"

    def listed(selector, value):
        change = viewer.page.select_option if selector == "#filter-tool" else viewer.page.fill
        change(selector, value)
        found = set(viewer.page.eval_on_selector_all(".card", shown_cards))
        change(selector, "")
        return found

    words = [b"".join(row["bytes"]).decode("utf-8", "replace").lower() for row in rows]
    word = next(
        word
        for text in words
        for word in text.split()
        if word.isalpha() and len(word) > 3 and 0 < sum(word in one for one in words) < len(words)
    )
    in_prompt = {number for number, row in enumerate(rows) if word in row["prompt"].decode("utf-8", "replace").lower()}
    assert listed("#filter", word) == in_prompt | {number for number, text in enumerate(words) if word in text}
    names = {
        number: {call["name"] for turn in row["turns"] for call in turn["calls"]} for number, row in enumerate(rows)
    }
    name = next(iter(sorted(set().union(*names.values()))))
    assert listed("#filter-tool", name) == {number for number, called in names.items() if name in called}
    middle = sorted(row["score"] for row in rows)[len(rows) // 2]
    assert listed("#filter-low", str(middle)) == {number for number, row in enumerate(rows) if row["score"] >= middle}
    assert listed("#filter-high", str(middle)) == {number for number, row in enumerate(rows) if row["score"] <= middle}
    assert listed("#filter", "no such text anywhere") == set()
    assert listed("#filter", "") == set(range(len(rows)))


def test_a_trajectory_is_copied_as_json_with_every_number(open_page, file):
    viewer, row = open_page(file, "step=1&row=0"), ROWS[1][0]
    viewer.page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    viewer.page.click(".copy")
    viewer.expect(".copy").to_have_text("Copied")
    copied = json.loads(viewer.page.evaluate("window.copied"))
    for name in ("uid", "session", "score", "ids", "generated", "trained", "region"):
        assert copied[name] == row[name], name
    assert [bytes.fromhex(piece) for piece in copied["bytes"]] == row["bytes"]
    assert copied["prompt"].encode() == row["prompt"]
    for name in NUMBERS:
        assert [np.float32(value) for value in copied[name]] == [np.float32(value) for value in row[name]], name
    first = row["turns"][0]
    assert copied["turns"][0]["text"].encode() == b"".join(row["bytes"][first["begin"] : first["end"]])


def test_the_address_names_the_token(open_page, file):
    viewer = open_page(file, "step=1&row=0&token=3")
    check_panel(viewer.panel(), ROWS[1][0], 3)
    viewer.press("ArrowRight")
    assert viewer.view()["token"] == "4"
    viewer.press("Escape")
    assert "token" not in viewer.view()


def test_each_turn_says_its_advantage(open_page, file):
    number = next(number for number, row in enumerate(ROWS[1]) if len(row["turns"]) > 1)
    row = ROWS[1][number]
    viewer = open_page(file, f"step=1&row={number}")
    for place, turn in enumerate(row["turns"]):
        values = np.array(row["advantage"][turn["begin"] : turn["end"]], np.float32)
        kept = values[np.array(row["trained"][turn["begin"] : turn["end"]])]
        assert f"advantage {shown(float(kept.astype(float).mean()))}" in viewer.texts(".turn > summary")[place]


def test_events_stand_where_they_were_decided(open_page, tmp_path):
    """Two turns: the first earned 1 at its last token but lost a quarter, the second decided 0 alone."""
    parts = [Part("go"), Part("back"), Part("done"), Part("heard", generated=False), Part("bye")]
    events = [{"token": 1, "amount": -0.25}, {"token": 2, "amount": 1.0}, {"token": 4, "amount": 1e-17}]
    file = write_page(tmp_path / "page.html", {1: [record(parts, events=events), record(parts)]})
    viewer = open_page(file, "step=1&row=0&token=1")
    read = "all => all.map(one => [one.textContent, one.dataset.decided])"
    assert viewer.page.eval_on_selector_all("#main .t[data-decided]", read) == [
        ["back", "minus"],
        ["done", "plus"],
        ["bye", "zero"],
    ]
    assert viewer.panel()["decided"] == "\u22120.25"
    viewer.page.hover('.t[data-i="2"]')
    assert viewer.texts("#tip")[0].endswith("decided +1.000") and viewer.panel()["decided"] == "+1"
    viewer.page.hover('.t[data-i="0"]')
    assert "decided" not in viewer.texts("#tip")[0] and viewer.panel()["decided"] == "nothing"
    first, second = viewer.texts(".turn > summary")
    assert "decided +0.750" in first and "decided 0" in second
    other = open_page(file, "step=1&row=1&token=5")
    assert "decided" not in other.panel() and other.page.locator("[data-decided]").count() == 0
    assert not any("decided" in text for text in other.texts(".turn > summary"))


@pytest.mark.parametrize("view", ["step=1", "step=1&row=0"])
def test_a_window_of_500_pixels_loses_nothing(open_page, file, view):
    viewer = open_page(file, view)
    viewer.page.set_viewport_size({"width": 500, "height": 800})
    outside = viewer.page.evaluate("""() => [...document.querySelectorAll("button, input, select, table, .t, dd")]
        .filter((one) => one.getClientRects().length)
        .filter((one) => { const box = one.getBoundingClientRect(); return box.left < 0 || box.right > 500; })
        .map((one) => one.outerHTML.slice(0, 100))""")
    assert outside == []
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 500


def test_a_link_opens_the_same_view_again(open_page, file):
    viewer = open_page(file, "step=300&row=6&mode=gap&theme=dark")
    assert viewer.view() == {"step": "300", "row": "6", "mode": "gap", "theme": "dark"}
    assert viewer.texts(".big strong") == [shown(ROWS[300][6]["score"])]
    nonsense = open_page(file, "step=7&row=999&mode=none&theme=pink")
    assert nonsense.view() == {"step": "1", "mode": "region"}


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
    assert viewer.page.locator("body script").count() == 4  # manifest, runs, one step, the page's own
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
