"""Token records as a run writes them, made up: of any tokens, or of dialogues with tools; and pages of the viewer with
them."""

import gzip
import json
import random
import re
import zlib
from dataclasses import dataclass
from statistics import mean, pstdev

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import step_data
from rest_verl.records.schema import RecordMeta, StepRecords, step_name, with_meta

PROMPT = "<|im_start|>system\nYou may call tools.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
WORDS = (
    "the user asks about weather in a city so I look for the tool that knows then check dates and say what came back"
)
CITIES = ("Paris", "Zürich", "東京", "Lagos", "Lima", "Oslo")
TASKS = (
    "What is the weather in {} tomorrow, and should I bring an umbrella?",
    "Book a table for two in {} at eight, somewhere quiet.",
    "How far is it from {} to the sea by train?",
    "Find the cheapest flight to {} next Friday and hold it.",
)


@dataclass(frozen=True)
class Part:
    """A stretch of a response in one region; `generated` is false for what tools and users say."""

    text: str | bytes
    region: str = "other"
    generated: bool = True


def record(parts, uid="g0", session=0, score=0.0, group_scores=None, prompt="", seed=0, tokenise=None, **changes):
    """A row of the schema: tokens of the parts, with numbers drawn from the seed."""
    rng = random.Random(seed)
    tokens = [(piece, part.region, part.generated) for part in parts for piece in (tokenise or pieces_of)(part.text)]
    generated = [token[2] for token in tokens]
    scores = [score] if group_scores is None else group_scores
    advantage = (score - mean(scores)) / (pstdev(scores) or 1.0)

    def numbers(draw):
        return [draw() if flag else 0.0 for flag in generated]

    old = numbers(lambda: -rng.expovariate(3))
    row = {
        "step": 1,
        "uid": uid,
        "session": session,
        "output": 0,
        "picked": "sample",
        "data_source": "made_up",
        "score": score,
        "group_scores": scores,
        "reward": [("format", 1.0), ("correctness", score - 1.0)],
        "prompt_ids": list(range(len(pieces_of(prompt)))),
        "prompt": prompt.encode(),
        "ids": [zlib.crc32(piece) % 150_000 for piece, _, _ in tokens],
        "bytes": [piece for piece, _, _ in tokens],
        "generated": generated,
        "trained": generated,
        "region": [region for _, region, _ in tokens],
        "entropy": numbers(lambda: rng.expovariate(2) * rng.random()),
        "weight": [_WEIGHTS[region] * flag for (_, region, _), flag in zip(tokens, generated, strict=True)],
        "advantage": numbers(lambda: advantage),
        "old_log_prob": old,
        "rollout_log_prob": [value + rng.gauss(0, 0.02) for value in old],
        "turns": _turns(generated),
    }
    return row | changes


_WEIGHTS = {"format": 1.31, "name": 1.57, "args": 0.92, "think": 0.81, "response": 0.0, "other": 0.0}


def pieces_of(text):
    """Bytes in pieces about as long as tokens."""
    raw = text.encode() if isinstance(text, str) else text
    return re.findall(rb"</?\w+>|\n+| ?[A-Za-z]{1,7}|[^A-Za-z\n]{1,3}", raw, re.DOTALL)


def dialogue(rng, turns, words=40):
    """Parts of a response in the format hermes: each turn reasons, calls a tool and hears its result, the last
    answers; and the calls of each turn."""
    parts, calls = [], []
    for number in range(turns):
        parts += [Part("<think>", "format"), Part(_words(rng, words), "think"), Part("</think>\n", "format")]
        if number == turns - 1:
            parts += [Part(f"It will be fine in {rng.choice(CITIES)}: " + _words(rng, 12), "response")]
            parts += [Part("<|im_end|>", "other")]
            calls.append([])
            continue
        name, arguments = "get_weather", f'{{"city": "{rng.choice(CITIES)}", "days": {rng.randrange(9)}}}'
        result = f'{{"temperature": {rng.randrange(35)}, "rain": {rng.random():.2f}, "note": "{_words(rng, 10)}"}}'
        failed = rng.random() < 0.25
        parts += [
            *(Part("<tool_call>\n", "format"), Part('{"name": "'), Part(name, "name"), Part('", "arguments": ')),
            *(Part(arguments, "args"), Part("}\n"), Part("</tool_call>", "format"), Part("<|im_end|>", "other")),
            Part(f"\n<tool_response>\n{result}\n</tool_response>\n", "other", generated=False),
        ]
        error = "failed" if failed else None
        calls.append([{"name": name, "arguments": arguments, "result": result, "error": error, "seconds": 0.031}])
    return parts, calls


def step_rows(step, groups=6, group_size=4, seed=0, words=40):
    """Rows of a step: groups of dialogues about the same task, with scores that grow with the step."""
    rng = random.Random(seed * 1000 + step)
    rows = []
    for group in range(groups):
        prompt = PROMPT.format(TASKS[group % len(TASKS)].format(CITIES[group % len(CITIES)]))
        scores = [round(rng.uniform(-1, 1) + step / 200, 3) for _ in range(group_size * 2)]
        for session in range(group_size):
            parts, calls = dialogue(rng, rng.randrange(1, 5), words)
            made = record(
                parts, f"group-{group}", session, scores[session], scores, prompt, rng.randrange(1 << 30), step=step
            )
            for turn, made_calls in zip(made["turns"], calls, strict=True):
                turn["calls"] = made_calls
            picked = {max(scores[:group_size]): "best", min(scores[:group_size]): "worst"}.get(
                scores[session], "sample"
            )
            rows.append(made | {"picked": picked})
    return rows


def records_of(rows, step=1, total_steps=300):
    """Rows as the records of a step."""
    meta = RecordMeta(step, total_steps, "hermes", "paper", "loss", "grpo", len(rows) * 2)
    return StepRecords(meta, pa.Table.from_pylist(rows, schema=with_meta(meta)))


def write_step(folder, rows, step=1, total_steps=300):
    """Write the record file of a step; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / step_name(step)
    parquet.write_table(records_of(rows, step, total_steps).table, path)
    return path


def _words(rng, count):
    return " ".join(rng.choices(WORDS.split(), k=count)) + "."


def _turns(generated):
    """The runs of generated tokens as turns."""
    edges = [place for place in range(len(generated) + 1) if _at(generated, place) != _at(generated, place - 1)]
    return [
        {"begin": begin, "end": end, "user_turn": 0, "seconds": 0.5, "calls": []}
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def _at(flags, place):
    return 0 <= place < len(flags) and flags[place]


STEPS = (1, 100, 300)
NUMBERS = ("entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob")
ROWS = {step: step_rows(step, groups=6, group_size=4) for step in STEPS}


def write_page(path, rows_by_step):
    steps = [PageStep(step, len(rows), 0, step_data(records_of(rows, step))) for step, rows in rows_by_step.items()]
    path.write_text(render_page("a run", steps), encoding="utf-8")
    return path


def shown(number):
    """A score as the page writes it."""
    return f"{number:.3f}".replace("-", "\u2212")


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


def unpack(packed):
    """The header and the arrays of what `step_data.pack` made, read as the page's script reads them."""
    whole = gzip.decompress(packed)
    begin = 4 + int.from_bytes(whole[:4], "little")
    header = json.loads(whole[4:begin])
    arrays = {
        name: np.frombuffer(whole, np.dtype(dtype), count=length, offset=begin + at)
        for name, dtype, at, length in header.pop("arrays")
    }
    return header, arrays
