"""Writes the table "Ground truths in every format" of docs/formats.md.

Each ground truth is written as the format's chat template writes it, then read as in a run: by the reward under each
rule set, and by the agent loop. A row passes where it earns the most that its kind can, its `acc` is 1, and the loop
reads exactly the due calls.

python docs/make_formats.py            # three minutes; ToolRL's rows are read from ../shared/data
tests/formats/test_any_format.py           # checks the page against the present code, in full with --all
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "examples" / "turns")]

from parts import text_of  # noqa: E402
from render import CALLS_OR_ANSWER, RENDERERS  # noqa: E402
from shared_data import APIBANK, SHARED  # noqa: E402
from template_spelling import SPELLINGS  # noqa: E402

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows  # noqa: E402
from rest_verl.bfcl.data.single_turn import bfcl_rows  # noqa: E402
from rest_verl.bfcl.verdict.checker import CATEGORIES  # noqa: E402
from rest_verl.config.rest import load  # noqa: E402
from rest_verl.core.tool_calls import Kind, ToolCall, ToolSchemas  # noqa: E402
from rest_verl.data.apibank import apibank_rows  # noqa: E402
from rest_verl.data.rlla import read_rlla  # noqa: E402
from rest_verl.formats import get_format  # noqa: E402
from rest_verl.formats.tools import tools_of_row  # noqa: E402
from rest_verl.reward.scorers import get_scorer, score_environment  # noqa: E402
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward  # noqa: E402
from rest_verl.reward.truth import read_ground_truth  # noqa: E402
from rest_verl.rollout.calls import read_calls  # noqa: E402

PAGE = Path(__file__).with_name("formats.md")
BEGIN, END = "<!-- made by docs/make_formats.py -->\n", "<!-- end of the table -->\n"
RULES, STEP = ("paper", "toolrl", "strict"), 150  # from this step on the bounds stand still
SETS = ("BFCL single-turn", "BFCL parallel", "BFCL multi-turn", "rlla", "API-Bank 2")
BYTES = [*(bytes([value]) for value in range(256)), b""]  # a vocabulary in which every byte is a token
ANSWER = "It is done."


@dataclass(frozen=True)
class Truth:
    """A ground truth.

    Attributes:
        id: of its row.
        row: the row, as verl has it.
        turns: the due calls of each turn that the policy generates.
        answers: whether the last turn has an answer.
        tools: the tools of the row.
    """

    id: str
    row: dict[str, Any]
    turns: Sequence[Sequence[ToolCall]]
    answers: bool
    tools: ToolSchemas


def truths(name: str) -> Iterator[Truth]:
    """The ground truths of one set; none where its data is not there."""
    if name == "BFCL multi-turn":
        for row in bfcl_multi_turn_rows():
            turns = json.loads(row["reward_model"]["ground_truth"])
            calls = [[ToolCall(**call) for call in turn] for turn in turns if turn]
            yield Truth(row["extra_info"]["id"], row, calls, False, tools_of_row(row["extra_info"]))
    elif name.startswith("BFCL"):
        asked = [one for one in CATEGORIES if not one.endswith("relevance")]
        for row in bfcl_rows([one for one in asked if ("parallel" in one) == (name == "BFCL parallel")]):
            yield _of_text(row["extra_info"]["id"], row, json.loads(row["reward_model"]["ground_truth"])["answer"])
    else:
        for number, row in enumerate(_rows(name)):
            yield _of_text(f"{name} {number}", row, row["reward_model"]["ground_truth"])


def _rows(name: str) -> list[dict[str, Any]]:
    if not SHARED.is_dir():
        return []
    if name == "rlla":
        return [row for file in ("rlla_test.parquet", "rlla_sft_200.json") for row in read_rlla(SHARED / file)]
    return apibank_rows([APIBANK])


def _of_text(id: str, row: dict[str, Any], text: str) -> Truth:
    truth = read_ground_truth(text)
    calls = [ToolCall(call.name, call.arguments) for call in truth.calls]
    return Truth(id, row, [calls], truth.kind.answer, tools_of_row(row.get("extra_info") or {}))


def written(format: str, calls: Sequence[ToolCall], answers: bool) -> bytes:
    """A turn as the format's chat template writes it, with reasoning."""
    answer = ANSWER if answers else ""
    if format in SPELLINGS and calls and not answers:
        _, write, spell = SPELLINGS[format]
        if format in ("qwen3_coder", "glm", "minimax", "seed"):
            tag = "seed:think" if format == "seed" else "think"
            blocks = "\n".join(write(call, spell) for call in calls)
            return f"<{tag}>So.</{tag}>\n{blocks}".encode()
    return text_of(RENDERERS[format]("So.", [(call.name, call.arguments) for call in calls], answer))


def passes(format: str, truth: Truth) -> dict[str, bool]:
    """Whether a ground truth passes, by rule set."""
    wire_format = get_format(format)
    last = len(truth.turns) - 1
    texts = [written(format, calls, truth.answers and number == last) for number, calls in enumerate(truth.turns)]
    read = [
        [
            ToolCall(call.name or "", call.arguments or {})
            for call in read_calls(wire_format, BYTES, list(text), tools=truth.tools)[1]
        ]
        for text in texts
    ]
    executed = repr(read) == repr([list(calls) for calls in truth.turns])
    return {rules: executed and _earns_all(format, truth, texts, rules) for rules in RULES}


def _earns_all(format: str, truth: Truth, texts: list[bytes], rules: str) -> bool:
    reward = _reward(rules)
    response = reward.reward.read(texts, get_format(format), truth.tools)
    if truth.row["extra_info"].get("environment"):
        found = score_environment(response, {"score": 1.0, "acc": 1.0}, reward)
    else:
        scorer = get_scorer(truth.row["data_source"])
        found = scorer.score(response, scorer.read(truth.row["reward_model"]["ground_truth"]), reward)
    calls_due = any(truth.turns)
    most = 4.0 if calls_due or rules == "strict" else 1.0  # paper and toolrl give no correctness where no call is due
    return abs(found["score"] - most) < 1e-9 and found["acc"] == 1.0


@cache
def _reward(rules: str) -> RewardAtStep:
    settings = load({"rest": {"reward": rules}}).reward
    if rules == "toolrl":  # whose bounds do not depend on the step: 1 and 3 are its published ones
        assert settings.format_max.schedule()(STEP) + settings.correctness_max.schedule()(STEP) == 4.0
    return RewardAtStep(ToolReward(settings), STEP)


def can_write(format: str, truth: Truth) -> bool:
    """Whether the format has a turn of this kind."""
    kind = Kind(any(truth.turns), truth.answers)
    return not (kind.calls and kind.answer and format in CALLS_OR_ANSWER)


def matrix(step: int = 1) -> dict[str, dict[str, dict[str, list[str]]]]:
    """By format, set and rule set, the ids of the ground truths that fail, and under `of` all of them; with `step`,
    only every so many of each set."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for name in SETS:
        rows = list(truths(name))[::step]
        for format in RENDERERS:
            some = [truth for truth in rows if can_write(format, truth)]
            results = {truth.id: passes(format, truth) for truth in some}
            cells = {rules: [id for id, result in results.items() if not result[rules]] for rules in RULES}
            found.setdefault(format, {})[name] = {"of": [truth.id for truth in some], **cells}
    return found


def table(found: dict[str, dict[str, dict[str, list[str]]]]) -> str:
    """The table in Markdown, and below it the ids that fail."""
    lines = [["format", *SETS], ["---"] * (len(SETS) + 1)]
    failing: dict[tuple[str, ...], list[str]] = {}
    for format, sets in found.items():
        row = [f"`{format}`"]
        for name in SETS:
            total, cells = len(sets[name]["of"]), [len(sets[name]["of"]) - len(sets[name][rules]) for rules in RULES]
            shown = [f"{cells[0]:,}"] if len(set(cells)) == 1 else [f"{cell:,}" for cell in cells]
            row.append(f"{' / '.join(shown)} of {total:,}")
            for id in dict.fromkeys(id for rules in RULES for id in sets[name][rules]):
                failing.setdefault((id,), []).append(format)
        lines.append(row)
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    by_formats: dict[str, list[str]] = {}
    for (id,), formats in failing.items():
        named = "all formats" if len(formats) == len(found) else ", ".join(f"`{one}`" for one in formats)
        by_formats.setdefault(named, []).append(f"`{id}`")
    notes = "".join(f"- in {formats}: {', '.join(ids)}\n" for formats, ids in by_formats.items())
    return f"{text}\n{notes}"


def page() -> str:
    """The whole page with the table of the present code."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{table(matrix())}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
