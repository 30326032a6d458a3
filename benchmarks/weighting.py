"""How long token weights take: the whole path from sampled ids to weights, against a straightforward way.

The straightforward way decodes each response, tokenises the text again with offsets, finds the parts with regular
expressions and looks up each token's part. Both get the same batch: reasoning, then a block of two calls, a different
one in every row, in ids of a real Qwen vocabulary. Both have one thread, as Ray gives it to verl's trainer process.

Where a batch has more than 128 rows, the straightforward way does 128 of them and its time is scaled up.

    pip install --no-deps dashscope     # whose package holds the vocabulary
    python benchmarks/weighting.py      # five minutes; writes its table into docs/speed.md
    python benchmarks/weighting.py --quick --no-write
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import typer
from page import machine, write_between_marks
from qwen import qwen_tokenizer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region, RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

SIZES = ((128, 128), (128, 512), (128, 2048), (512, 1024), (2048, 2048), (2048, 4096))
QUICK_SIZES = ((128, 128), (128, 512), (128, 2048))
BASELINE_ROWS = 128
STEP = 50

WORDS = (
    "the",
    "user",
    "asks",
    "about",
    "weather",
    "in",
    "a",
    "city",
    "so",
    "I",
    "look",
    "for",
    "tool",
    "that",
    "knows",
)
PLACES = ("Paris", "Zürich", "東京")
CALLS = {
    "rlla": '{{"name": "{0}", "parameters": {{"city": "{1}", "days": {2}, "note": "bring an \\"umbrella\\""}}}}',
    "hermes": '<tool_call>\n{{"name": "{0}", "arguments": {{"city": "{1}", "days": {2}, "note": "bring an \\"umbrella'
    '\\""}}}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function={0}>\n<parameter=city>\n{1}\n</parameter>\n<parameter=days>\n{2}\n"
    '</parameter>\n<parameter=note>\nbring an "umbrella"\n</parameter>\n</function>\n</tool_call>',
}
BLOCKS = {"rlla": "\n<tool_call>\n{0}\n{1}\n</tool_call>", "hermes": "\n{0}\n{1}", "qwen3_coder": "\n{0}\n{1}"}
JSON_CALL = r'\{"name": "(?P<name>[^"]*)", "(?:parameters|arguments)": (?P<args>\{.*?\})\}(?=\n)'
XML_CALL = r"<function=(?P<name>[^>]*)>\n(?P<args><parameter=.*?</parameter>)\n</function>"
PATTERNS = {"rlla": JSON_CALL, "hermes": JSON_CALL, "qwen3_coder": XML_CALL}


@dataclass(frozen=True)
class Row:
    """One line of the table; seconds are medians."""

    format: str
    rows: int
    tokens: int
    seconds: float
    straightforward: float

    @property
    def ratio(self) -> float:
        """How many times the straightforward way's speed."""
        return self.straightforward / self.seconds


def make_batch(tokenizer: Any, format: str, rows: int, tokens: int, rng: random.Random) -> torch.Tensor:
    """Responses of exactly `tokens` tokens: (rows, tokens) int64."""
    words = [tokenizer.encode(" " + word) for word in WORDS]
    opening, closing, pad = tokenizer.encode("<think>"), tokenizer.encode("</think>"), tokenizer.pad_token_id
    made = []
    for _ in range(rows):
        names = (f"get_{rng.choice(WORDS)}", f"send_{rng.choice(WORDS)}")
        calls = [CALLS[format].format(name, rng.choice(PLACES), rng.randrange(9)) for name in names]
        block = [*closing, *tokenizer.encode(BLOCKS[format].format(*calls))]
        room = tokens - len(block) - len(opening)
        thought = [id for word in rng.choices(words, k=room) for id in word][:room]
        row = [*opening, *thought, *block]
        made.append(row + [pad] * (tokens - len(row)))
    return torch.tensor(made)


def straightforward_weights(tokenizer: Any, format: str, responses: torch.Tensor, weight: dict[str, float]) -> list:
    """Decode, tokenise again with offsets, find the parts, look up each token."""
    pattern = re.compile(PATTERNS[format], re.DOTALL)
    tags = re.compile(r"</?(?:think|tool_call|function(?:=[^>]*)?)>")
    result = []
    for row in responses.tolist():
        text = tokenizer.decode(row, skip_special_tokens=False)
        offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        parts = [("think", *match.span(1)) for match in re.finditer(r"<think>(.*?)</think>", text, re.DOTALL)]
        parts += [("format", *match.span()) for match in tags.finditer(text)]
        for call in pattern.finditer(text):
            parts += [("args", *call.span("args")), ("name", *call.span("name"))]
        labels = [0.0] * len(text)
        for part, start, end in parts:
            labels[start:end] = [weight[part]] * (end - start)
        weights = [max(labels[start:end], default=0.0) for start, end in offsets]
        scale = len(weights) / (sum(weights) or 1.0)
        result.append([value * scale for value in weights])
    return result


def seconds_of(work: Callable[[], Any], repeats: int) -> float:
    """Median duration."""
    durations = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        durations.append(time.perf_counter() - begin)
    return statistics.median(durations)


def measure(tokenizer: Any, tagger: RegionTagger, format: str, rows: int, tokens: int) -> Row:
    """Time both ways on one batch."""
    responses = make_batch(tokenizer, format, rows, tokens, random.Random(0))
    mask = (responses != tokenizer.pad_token_id).long()
    weighting = TokenWeighting(RestConfig(), total_steps=100)

    def ours() -> None:
        weighting(StepBatch(STEP, TaggedBatch(tagger(responses, mask), mask)))

    ours()  # once for the memory that both batches and allocators keep
    seconds = seconds_of(ours, 3 if rows * tokens > 1_000_000 else 15)
    some = responses[:BASELINE_ROWS]
    weight = {region.label: 1.0 + region for region in Region}
    theirs = seconds_of(lambda: straightforward_weights(tokenizer, format, some, weight), 1)
    return Row(format, rows, tokens, seconds, theirs * rows / len(some))


def linear_fit(rows: list[Row]) -> str:
    """Seconds as so much a batch and so much a token, by least squares, and how much of them that explains."""
    tokens, seconds = np.array([(row.rows * row.tokens, row.seconds) for row in rows]).T
    per_token, constant = np.polyfit(tokens, seconds, 1)
    explained = np.corrcoef(tokens, seconds)[0, 1] ** 2
    return f"{constant * 1e3:.1f} ms + {per_token * 1e9:.1f} ns a token (R^2 = {explained:.4f})"


def as_markdown(rows: list[Row]) -> list[str]:
    """The table for docs/speed.md."""
    lines = [
        "| format | batch | seconds | tokens per second | straightforward, s | ratio |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.format} | {row.rows} x {row.tokens} | {row.seconds:.4f} | {row.rows * row.tokens / row.seconds:,.0f} "
        f"| {row.straightforward:.2f} | {row.ratio:.0f} |"
        for row in rows
    ]
    return [*lines, "", f"{machine()}. Linear fit: {linear_fit(rows)}."]


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Small batches only.")] = False,
    write: Annotated[bool, typer.Option(help="Write the table into docs/speed.md.")] = True,
) -> None:
    """Measure token weighting against a straightforward way."""
    torch.set_num_threads(1)
    console = Console()
    sizes = QUICK_SIZES if quick else SIZES
    measured: list[Row] = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("vocabulary", total=1 + len(CALLS) * len(sizes))
        tokenizer = qwen_tokenizer()
        progress.advance(bar)
        for format in CALLS:
            tagger = RegionTagger(tokenizer, get_format(format))
            for rows, tokens in sizes:
                progress.update(bar, description=f"{format} {rows} x {tokens}")
                measured.append(measure(tokenizer, tagger, format, rows, tokens))
                progress.advance(bar)
    table = Table("format", "batch", "seconds", "tokens/s", "straightforward, s", "ratio")
    for row in measured:
        speed = f"{row.rows * row.tokens / row.seconds:,.0f}"
        batch = f"{row.rows} x {row.tokens}"
        table.add_row(row.format, batch, f"{row.seconds:.4f}", speed, f"{row.straightforward:.2f}", f"{row.ratio:.0f}")
    console.print(table)
    console.print(f"linear fit: {linear_fit(measured)}")
    if write:
        write_between_marks("benchmarks/weighting.py", as_markdown(measured))
        console.print("written into docs/speed.md")


if __name__ == "__main__":
    typer.run(main)
