"""How long token weights take: the whole path from sampled ids to weights, with one thread, as Ray gives it to verl's
trainer process, on simulated responses in ids of a real Qwen vocabulary.

compare: against the straightforward way, which decodes each response, tokenises the text again with offsets, finds the
parts with regular expressions and looks up each token's part. Both get the same batch: reasoning, then a block of two
calls, a different one in every row. Of more than 128 rows the straightforward way does 128, and its time is scaled up.

sizes: tagging, weights and metrics at the sizes of a cluster, in seconds and memory. A batch repeats its first rows,
and each response is as long as the size allows, which is the most that a size can cost. benchmarks/step.py measures
the queue's part.

    pip install --no-deps dashscope                # whose package holds the vocabulary
    python benchmarks/weighting.py compare         # five minutes
    python benchmarks/weighting.py sizes
    python benchmarks/weighting.py compare --quick
"""

from __future__ import annotations

import ctypes
import random
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from harness import Fresh, Out, Publish, Quick, Study, in_a_worker, known, table
from hydra import compose, initialize_config_module
from qwen import qwen_tokenizer

from rest_verl.config.rest import RestConfig, load, preset_names
from rest_verl.core.regions import Region, RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.weighting.metrics import weight_metrics
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

COMPARED = ((128, 128), (128, 512), (128, 2048), (512, 1024), (2048, 2048), (2048, 4096))  # rows, tokens
SIZES = ((128, 4, 2048), (256, 4, 2048), (512, 4, 2048), (512, 8, 4096), (1024, 8, 8192))  # prompts, rollouts, tokens
BASELINE_ROWS, DIFFERENT_ROWS, REPEATS, STEP = 128, 64, 3, 50
PRESETS = "paper,entropy_adaptive"
LIMIT = 0.02  # of a step: what ResT may cost

WORDS = re.findall(r"\w+", "the user asks about weather in a city so I look for tool that knows")
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


@cache
def tagger_of(format: str) -> RegionTagger:
    """A tagger for Qwen's vocabulary."""
    return RegionTagger(qwen_tokenizer(), get_format(format))


def compared(format: str, rows: int, tokens: int) -> dict[str, Any]:
    """Time both ways on one batch."""
    tokenizer, tagger = qwen_tokenizer(), tagger_of(format)
    responses = make_batch(tokenizer, format, rows, tokens, random.Random(0))
    mask = (responses != tokenizer.pad_token_id).long()
    weighting = TokenWeighting(RestConfig(), total_steps=100)

    def ours() -> None:
        weighting(StepBatch(STEP, TaggedBatch(tagger(responses, mask), mask)))

    ours()  # once for the memory that both batches and allocators keep
    seconds = seconds_of(ours, 3 if rows * tokens > 1_000_000 else 15)
    some = responses[:BASELINE_ROWS]
    weight = {region.label: 1.0 + region for region in Region}
    theirs = seconds_of(lambda: straightforward_weights(tokenizer, format, some, weight), 1) * rows / len(some)
    return {"format": format, "rows": rows, "tokens": tokens, "seconds": seconds, "straightforward": theirs}


def of_size(preset: str, prompts: int, rollouts: int, tokens: int) -> dict[str, Any]:
    """Seconds and memory of one preset's token weights for one size of batch."""
    responses = make_batch(qwen_tokenizer(), "hermes", DIFFERENT_ROWS, tokens, random.Random(0))
    responses = responses.repeat(prompts * rollouts // DIFFERENT_ROWS, 1)
    mask = torch.ones_like(responses)
    entropy = torch.rand(responses.shape, generator=torch.Generator().manual_seed(0))
    weighting = TokenWeighting(settings(preset), total_steps=100)
    work = partial(weigh, weighting, tagger_of("hermes"), responses, mask, entropy)
    more = peak_beside(work) / 2**20  # before it is timed: memory is taken once, and then kept
    size = {"preset": preset, "prompts": prompts, "rollouts": rollouts, "tokens": tokens}
    return {**size, "seconds": round(seconds_of(work, REPEATS), 4), "more_mib": round(more)}


def weigh(
    weighting: TokenWeighting,
    tagger: RegionTagger,
    responses: torch.Tensor,
    mask: torch.Tensor,
    entropy: torch.Tensor,
) -> None:
    """What the trainer does each step between reading from the queue and writing to it; all of (rows, tokens)."""
    batch = StepBatch(1, TaggedBatch(tagger(responses, mask), mask), entropy)
    weighting(batch)
    weight_metrics(batch)
    weighting.metrics(1)


def settings(preset: str) -> Any:
    """The settings of a preset in verl's config, for responses in Hermes' format."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return load(compose("ppo_trainer", [f"+rest={preset}", "+platform=cpu", "rest.format=hermes"]))


def peak_resident(pid: int | str) -> float:
    """The most bytes that a process has had in memory so far. Linux only, as verl is."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def peak_beside(work: Callable[[], None]) -> float:
    """The most bytes that a piece of work takes at a time, on top of what this process has before it."""
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator has kept of earlier work would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is there now
    before = peak_resident("self")
    work()
    return peak_resident("self") - before


def growth(sizes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How seconds grow with tokens: exponent (1 is linear); straight line in ms a batch and ns a token, with the share
    of the variance that it explains; the step of which the largest size is `LIMIT`, in seconds."""
    tokens = [one.get("prompts", 1) * one.get("rollouts", one.get("rows")) * one["tokens"] for one in sizes]
    took = [one["seconds"] for one in sizes]
    slope, constant = np.polyfit(tokens, took, 1)
    return {
        "exponent": float(np.polyfit(np.log(tokens), np.log(took), 1)[0]),
        "ms_a_batch": float(constant * 1e3),
        "ns_a_token": float(slope * 1e9),
        "r_squared": float(np.corrcoef(tokens, took)[0, 1] ** 2),
        "step_seconds": max(zip(tokens, took, strict=True))[1] / LIMIT,
    }


def of_compared(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ratios to the straightforward way, and the table."""
    rows, ratios = [], [one["straightforward"] / one["seconds"] for one in pieces]
    for one, ratio in zip(pieces, ratios, strict=True):
        batch, speed = f"{one['rows']} x {one['tokens']}", one["rows"] * one["tokens"] / one["seconds"]
        both = [f"{one['seconds']:.4f}", f"{speed:,.0f}", f"{one['straightforward']:.2f}"]
        rows.append([one["format"], batch, *both, f"{ratio:.0f}"])
    head = ["format", "batch", "seconds", "tokens per second", "straightforward, s", "ratio"]
    found = {"ratio": {"least": min(ratios), "most": max(ratios)}, "growth": growth(pieces)}
    return {"verdicts": found, "tables": {"compared": table(head, rows)}}


def of_sizes(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How seconds grow by preset, and the table."""
    rows = []
    for one in pieces:
        tokens = one["prompts"] * one["rollouts"] * one["tokens"]
        size = f"{one['prompts']:,} x {one['rollouts']} x {one['tokens']:,}"
        cost = [f"{one['seconds']:.3f}", f"{one['seconds'] / tokens * 1e9:.0f}", f"{one['more_mib']:,}"]
        rows.append([f"`{one['preset']}`", size, f"{tokens / 1e6:.1f}", *cost])
    head = ["preset", "prompts x rollouts x tokens", "million tokens", "seconds", "ns a token", "memory, MiB"]
    names = dict.fromkeys(one["preset"] for one in pieces)
    grown = {name: growth([one for one in pieces if one["preset"] == name]) for name in names}
    return {"verdicts": grown, "tables": {"sizes": table(head, rows)}}


def main(
    part: Annotated[Literal["compare", "sizes"], typer.Argument(help="What to measure.")],
    presets: Annotated[str, typer.Option(help="Presets to weigh with, for `sizes`.")] = PRESETS,
    quick: Quick = False,
    out: Out = Path("runs/weighting"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure token weights."""
    in_a_worker()
    names, most = known(presets, "preset", preset_names()), 2 if quick else None
    work: dict[str, Callable[[], Any]]
    if part == "compare":
        shapes = [(format, *shape) for format in CALLS for shape in COMPARED[:most]]
        work = {
            f"{format}/{rows}x{tokens}": partial(compared, format, rows, tokens) for format, rows, tokens in shapes
        }
    else:
        sizes = [(name, *size) for size in SIZES[:most] for name in names]
        work = {"/".join(map(str, size)): partial(of_size, *size) for size in sizes}
    study = Study(f"weighting_{part}", {"repeats": REPEATS}, out / "quick" if quick else out, fresh=fresh)
    found = list(study.run(work).values())
    study.finish((of_compared if part == "compare" else of_sizes)(found), publish)


if __name__ == "__main__":
    typer.run(main)
