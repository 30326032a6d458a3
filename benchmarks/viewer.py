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
import statistics
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import typer
from harness import Fresh, Out, Publish, Quick, Study, table

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data
from rest_verl.records.schema import RecordMeta, StepRecords, with_meta

ROWS, TOKENS, GROUP, LONG = 200, 2000, 4, 32_768
VOCABULARY = 20_000
WEIGHTS = {"think": 0.8, "format": 1.3, "name": 1.6, "args": 0.9, "other": 0.0}
LINE = 18  # tokens, on average
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


def make_rows(rng: np.random.Generator, rows: int, tokens: int, group: int) -> list[dict[str, Any]]:
    """Trajectories of random words: five turns, each with reasoning and a call, and what a tool said after it."""
    words = [b" " + bytes(rng.integers(97, 123, rng.integers(1, 9)).tolist()) for _ in range(VOCABULARY)]
    words[0] = b"\n"
    turn = np.array(["think"] * 70 + ["format"] * 3 + ["name"] * 2 + ["args"] * 15 + ["other"] * 10)
    regions = turn[(np.arange(tokens) * 500 // tokens) % 100]
    generated = regions != "other"
    edges = np.flatnonzero(np.diff(generated, prepend=False, append=False)).reshape(-1, 2)
    turns = [
        {"begin": begin, "end": end, "user_turn": 0, "seconds": 1.0, "calls": []} for begin, end in edges.tolist()
    ]
    scores = rng.normal(size=rows)
    made = []
    for row in range(rows):
        ids = np.where(rng.random(tokens) < 1 / LINE, 0, rng.integers(1, VOCABULARY, tokens))
        old, noise = -rng.exponential(0.4, tokens), rng.normal(0, 0.02, tokens)
        numbers = {
            "entropy": rng.exponential(0.5, tokens),
            "weight": np.array([WEIGHTS[region] for region in regions]) * rng.uniform(0.9, 1.1),
            "advantage": np.full(tokens, scores[row]),
            "old_log_prob": old,
            "rollout_log_prob": old + noise,
        }
        first = row // group * group
        made.append(
            {
                "step": 1,
                "uid": str(row // group),
                "session": row % group,
                "output": 0,
                "picked": "sample",
                "data_source": "random",
                "score": float(scores[row]),
                "group_scores": scores[first : first + group].tolist(),
                "reward": [("format", 1.0)],
                "prompt_ids": [1] * 500,
                "prompt": b"".join(words[word] for word in rng.integers(1, VOCABULARY, 500)),
                "ids": ids.tolist(),
                "bytes": [words[word] for word in ids],
                "generated": generated.tolist(),
                "trained": generated.tolist(),
                "region": regions.tolist(),
                "turns": turns,
                **{name: values.astype(np.float32).tolist() for name, values in numbers.items()},
            }
        )
    return made


def write_page(path: Path, rows: list[dict[str, Any]]) -> float:
    """Write the page of some rows; return the seconds it took from the table on."""
    meta = RecordMeta(1, 1, "hermes", "paper", "loss", "grpo", len(rows))
    records = StepRecords(meta, pa.Table.from_pylist(rows, schema=with_meta(meta)))
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
    from chromium import chromium  # here, as MISSING below: the harness puts the folder of this helper on the path

    rng = np.random.default_rng(0)
    with TemporaryDirectory() as name, chromium() as browser:
        page_path, long_path, plain_path = (Path(name) / f"{kind}.html" for kind in ("page", "long", "plain"))
        trajectories = make_rows(rng, rows, TOKENS, GROUP)
        made = write_page(page_path, trajectories)
        write_page(long_path, make_rows(rng, 1, long, 1))
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
    from chromium import MISSING

    if MISSING is not None:
        raise SystemExit(MISSING)
    rows, long, out = (20, 4_096, out / "quick") if quick else (ROWS, LONG, out)
    study = Study("viewer", {"rows": rows, "tokens": TOKENS, "long": long}, out, fresh=fresh)
    found = study.run({"page": partial(measure, rows, long)})["page"]
    ratio = found["first_view"] / found["plain"]
    lines = [
        ["making the page", f"{found['made_seconds']:.2f} s"],
        ["its size", f"{found['megabytes']:.1f} MB"],
        ["from navigation to the first view", f"{found['first_view']:.0f} ms"],
        ["the same rows as plain JSON, the baseline", f"{found['plain']:.0f} ms (ratio {ratio:.2f})"],
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
    study.finish({"verdicts": {"ratio": ratio}, "tables": tables}, publish)


if __name__ == "__main__":
    typer.run(main)
