"""How long the page of `rest-verl inspect` takes: to make, to open, to read and to scroll, in a real browser.

The page holds 200 trajectories of 2,000 tokens in 50 groups; a second page one of 32,768 tokens. Entropy and log-probs
are random, so that they compress as badly as they can; weights depend on the region, advantages on the row.

    pip install playwright              # and Debian's chromium
    python benchmarks/viewer.py         # a minute; writes its table into docs/inspect.md
    python benchmarks/viewer.py --no-write
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from chromium import MISSING, chromium
from page import PAGE, machine, show_tables, write_between_marks
from rich.console import Console

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data
from rest_verl.records.schema import RecordMeta, StepRecords, with_meta

ROWS, TOKENS, GROUP, LONG = 200, 2000, 4, 32_768
VOCABULARY = 20_000
WEIGHTS = {"think": 0.8, "format": 1.3, "name": 1.6, "args": 0.9, "other": 0.0}
LINE = 18  # tokens, on average
REPEATS = 5
SECONDS = 2  # of scrolling
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


@dataclass(frozen=True)
class Frames:
    """Durations of frames while a pane scrolls from top to bottom, in ms."""

    what: str
    durations: list[float]

    def cells(self) -> list[str]:
        """What the table says of them."""
        late = sum(duration > LONGEST_FRAME for duration in self.durations)
        slow = float(np.quantile(self.durations, 0.95))
        middle = statistics.median(self.durations)
        return [
            self.what,
            f"{middle:.1f}",
            f"{slow:.1f}",
            f"{max(self.durations):.1f}",
            f"{late} of {len(self.durations)}",
        ]


def make_rows(rng: np.random.Generator, rows: int, tokens: int, group: int) -> list[dict[str, Any]]:
    """Trajectories of random words: five turns, each with reasoning and a call, and what a tool said behind it."""
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


def measure(folder: Path) -> tuple[list[list[str]], list[Frames]]:
    """What takes how long, and the frames of scrolling."""
    rng = np.random.default_rng(0)
    path, long = folder / "page.html", folder / "long.html"
    made = write_page(path, make_rows(rng, ROWS, TOKENS, GROUP))
    write_page(long, make_rows(rng, 1, LONG, 1))
    with chromium() as browser:
        times = []
        for _ in range(REPEATS):
            page, ready = opened(browser, path)
            times.append(ready)
            if len(times) < REPEATS:
                page.close()
        frames = [Frames(f"overview of {ROWS}", page.evaluate(SCROLLED, ["#main", SECONDS]))]
        frames.append(Frames("list on the left", page.evaluate(SCROLLED, ["#groups", SECONDS])))
        rows = [page.evaluate(OPENED, row) for row in range(0, ROWS, ROWS // 10)]
        frames.append(Frames(f"a trajectory of {TOKENS:,} tokens", page.evaluate(SCROLLED, ["#main", SECONDS])))
        page.close()
        page, _ = opened(browser, long)
        long_row = page.evaluate(OPENED, 0)
        frames.append(Frames(f"a trajectory of {LONG:,} tokens", page.evaluate(SCROLLED, ["#main", SECONDS])))
        version = browser.version
    lines = [
        ["making the page", f"{made:.2f} s"],
        ["its size", f"{path.stat().st_size / 1e6:.1f} MB"],
        ["from navigation to the first view", f"{statistics.median(times):.0f} ms"],
        [f"opening a trajectory of {TOKENS:,} tokens", f"{statistics.median(rows):.0f} ms"],
        [f"opening one of {LONG:,} tokens", f"{long_row:.0f} ms"],
        ["browser", f"Chromium {version}, no GPU"],
    ]
    return lines, frames


def main(write: Annotated[bool, typer.Option(help="Write the tables into docs/inspect.md.")] = True) -> None:
    """Measure the viewer's page."""
    if MISSING is not None:
        raise SystemExit(MISSING)
    console = Console()
    with TemporaryDirectory() as folder, console.status("measuring"):
        lines, frames = measure(Path(folder))
    heads = [
        [f"{ROWS} trajectories of {TOKENS:,} tokens", ""],
        ["scrolling, ms a frame", "median", "95th percentile", "longest", f"over {LONGEST_FRAME} ms"],
    ]
    markdown = show_tables(console, list(zip(heads, (lines, [one.cells() for one in frames]), strict=True)))
    if write:
        page = PAGE.with_name("inspect.md")
        write_between_marks("benchmarks/viewer.py", [*markdown, f"{machine()}."], page)
        console.print("written into docs/inspect.md")


if __name__ == "__main__":
    typer.run(main)
