"""The page in a real browser: text of any kind is shown as text, whole and in its order."""

import pytest
from chromium import MISSING
from record_tables import Part, record
from viewer_pages import write_page

pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


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
