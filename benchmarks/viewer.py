"""How long the page of `rest-verl inspect` takes: to make, to open, to read and to scroll, in a real browser.

The page holds 200 trajectories of 2,000 tokens in 50 groups; a second page one of 32,768 tokens. Entropy and log-probs
are random, so that they compress as badly as they can; weights depend on the region, advantages on the row. The
baseline is the same rows as plain JSON in a page of text, opened in the same browser.

    pip install playwright              # and Debian's chromium
    python benchmarks/viewer.py         # a minute
    python benchmarks/viewer.py --quick
"""

from __future__ import annotations

import html
import json
import random
import re
import statistics
import string
import time
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness  # noqa: F401  (puts the tests' helpers on the path)
import numpy as np
import typer
from browser import MISSING, chromium
from harness import Fresh, Out, Publish, Quick, Study, table
from record_tables import Part, record, records_of

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data

ROWS, TOKENS, GROUP, LONG = 200, 2000, 4, 32_768
VOCABULARY, LINE = 20_000, 18  # words; tokens of a line, on average
TURNS = 5
PARTS = {"think": 70, "format": 3, "name": 2, "args": 15, "other": 10}  # percent of a turn, in order
REPEATS, SECONDS = 5, 2  # of opening; of scrolling
LONGEST_FRAME = 50  # ms

OPENED = """async (row) => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    const begin = performance.now();
    document.querySelector(`.card[data-row="${row}"]`).click();
    await frame();
    await frame();
    return performance.now() - begin;
}"""
SCROLLED = """async ([selector, seconds]) => {
    const pane = document.querySelector(selector);
    pane.scrollTop = 0;
    const way = pane.scrollHeight - pane.clientHeight; // read once: it would lay the page out in every frame
    const begin = await new Promise(requestAnimationFrame);
    const frames = [];
    for (let before = begin; before - begin < 1000 * seconds; ) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - before);
        before = now;
        pane.scrollTop = ((now - begin) / (1000 * seconds)) * way;
    }
    return frames;
}"""


def make_rows(rows: int, tokens: int, group: int) -> list[dict[str, Any]]:
    """Trajectories of random words: five turns, each with reasoning and a call, and what a tool said after it."""
    rng = random.Random(0)
    words = [
        "\n",
        *(" " + "".join(rng.choices(string.ascii_lowercase, k=rng.randrange(1, 9))) for _ in range(VOCABULARY)),
    ]
    lines = [VOCABULARY / (LINE - 1), *[1.0] * VOCABULARY]  # how often each word comes
    edges = [tokens * mark // (100 * TURNS) for mark in accumulate([*PARTS.values()] * TURNS, initial=0)]
    scores, made = [rng.gauss(0, 1) for _ in range(rows)], []
    for row in range(rows):
        parts = [
            Part("".join(rng.choices(words, lines, k=end - begin)), region, generated=region != "other")
            for region, (begin, end) in zip([*PARTS] * TURNS, pairwise(edges), strict=True)
        ]
        first = row // group * group
        prompt = "".join(rng.choices(words, k=500))
        around = {"uid": str(row // group), "session": row % group, "seed": row, "prompt": prompt}
        others = {"score": scores[row], "group_scores": scores[first : first + group], "tokenise": tokens_of}
        made.append(record(parts, **around, **others))
    return made


def tokens_of(text: str) -> Sequence[bytes]:
    """The words of a text, each a token."""
    return re.findall(rb" \w+|\n", text.encode())


def write_page(path: Path, rows: list[dict[str, Any]]) -> float:
    """Write the page of some rows; return the seconds it took from the table on."""
    records = records_of(rows)
    begin = time.perf_counter()
    tokens = sum(len(row["ids"]) for row in rows)
    path.write_text(render_page("benchmark", [PageStep(1, len(rows), tokens, step_data(records))]), encoding="utf-8")
    return time.perf_counter() - begin


def opened(browser: Any, path: Path) -> tuple[Any, float]:
    """A page, and the ms from navigation until its first view was on the screen."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    return page, page.evaluate("performance.getEntriesByName('viewer-ready')[0].startTime")


def plain_ms(browser: Any, path: Path) -> float:
    """The ms from navigation until a page of text was loaded."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(path.as_uri())
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    page.close()
    return loaded


def measure(rows: int, long: int) -> dict[str, Any]:
    """What takes how long, in ms where it does not say otherwise, and the frames of scrolling."""
    with TemporaryDirectory() as name, chromium() as browser:
        page_path, long_path, plain_path = (Path(name) / f"{kind}.html" for kind in ("page", "long", "plain"))
        trajectories = make_rows(rows, TOKENS, GROUP)
        made = write_page(page_path, trajectories)
        write_page(long_path, make_rows(1, long, 1))
        plain_path.write_text(f"<pre>{html.escape(json.dumps(trajectories, default=repr))}</pre>", encoding="utf-8")
        times = []
        for _ in range(REPEATS):
            page, ready = opened(browser, page_path)
            times.append((ready, plain_ms(browser, plain_path)))
            if len(times) < REPEATS:
                page.close()
        frames = {f"overview of {rows}": page.evaluate(SCROLLED, ["#main", SECONDS])}
        frames["list on the left"] = page.evaluate(SCROLLED, ["#groups", SECONDS])
        opening = [page.evaluate(OPENED, row) for row in range(0, rows, max(rows // 10, 1))]
        frames[f"a trajectory of {TOKENS:,} tokens"] = page.evaluate(SCROLLED, ["#main", SECONDS])
        page.close()
        page, _ = opened(browser, long_path)
        long_row = page.evaluate(OPENED, 0)
        frames[f"a trajectory of {long:,} tokens"] = page.evaluate(SCROLLED, ["#main", SECONDS])
        return {
            "made_seconds": made,
            "megabytes": page_path.stat().st_size / 1e6,
            "first_view": statistics.median(ready for ready, _ in times),
            "plain": statistics.median(plain for _, plain in times),
            "opening": statistics.median(opening),
            "opening_long": long_row,
            "frames": frames,
            "browser": f"Chromium {browser.version}, no GPU",
        }


def main(quick: Quick = False, out: Out = Path("runs/viewer"), fresh: Fresh = False, publish: Publish = False) -> None:
    """Measure the viewer's page."""
    if MISSING is not None:
        raise SystemExit(MISSING)
    rows, long, out = (20, 4_096, out / "quick") if quick else (ROWS, LONG, out)
    study = Study("viewer", {"rows": rows, "tokens": TOKENS, "long": long}, out, fresh=fresh)
    found = study.run({"page": partial(measure, rows, long)})["page"]
    lines = [
        ["making the page", f"{found['made_seconds']:.2f} s"],
        ["its size", f"{found['megabytes']:.1f} MB"],
        ["from navigation to the first view", f"{found['first_view']:.0f} ms"],
        [
            "the same rows as plain JSON, the baseline",
            f"{found['plain']:.0f} ms (ratio {found['first_view'] / found['plain']:.2f})",
        ],
        [f"opening a trajectory of {TOKENS:,} tokens", f"{found['opening']:.0f} ms"],
        [f"opening one of {long:,} tokens", f"{found['opening_long']:.0f} ms"],
        ["browser", found["browser"]],
    ]
    scrolled = []
    for name, ms in found["frames"].items():
        spread = [f"{value:.1f}" for value in (statistics.median(ms), float(np.quantile(ms, 0.95)), max(ms))]
        scrolled.append([name, *spread, f"{sum(one > LONGEST_FRAME for one in ms)} of {len(ms)}"])
    head = ["scrolling, ms a frame", "median", "95th percentile", "longest", f"over {LONGEST_FRAME} ms"]
    tables = {
        "page": table([f"{rows} trajectories of {TOKENS:,} tokens", ""], lines),
        "scrolling": table(head, scrolled),
    }
    study.finish({"tables": tables}, publish and not quick)


if __name__ == "__main__":
    typer.run(main)
