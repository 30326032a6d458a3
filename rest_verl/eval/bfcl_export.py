"""Export answers as result files of the package bfcl-eval, so that the official scorer can judge them.

    OUT/Qwen_Qwen3-8B-FC/non_live/BFCL_v4_simple_python_result.json     also live/ and multi_turn/
    {"id": ..., "result": ..., "text": ..., "input_token_count": ..., "output_token_count": ...}  one line per question

That scorer only reads answers of models in its own table, so these are written as those of one of them: its reader of
Qwen's native calls takes each call as JSON in `<tool_call>` tags, which preserves every value and the dots in names;
nothing else in the model's entry matters. `result` has an answer's calls in that form, whatever their wire format;
for a question with an environment it is a list of turns, each a list of steps. `text` keeps what the model wrote.

The official verdicts equal ours. What this requires, and its limits:
- An unreadable call is left out, and in single turn all calls of its answer with it, as our scorer does.
- Calls at which the official checker stops with an error, for all categories that follow, are written as a call of
  `no_such_tool`, which is wrong there as they are here.
- A call of a tool that a later turn adds is written as it is: the official executor runs it, and our `acc` too.
- The official executor evaluates calls as Python. A call of a tool that does not exist, or with argument names
  that are not Python identifiers, is written as that call too, which fails there as it did here.
- In the memory categories the last answer is written as text, without its reasoning, since it is what is judged. A
  `<tool_call>` in it is broken up. The conversations that the questions are about are left out.
- A request that the endpoint refused counts as wrong. If the official scorer only requires that there be no call, it
  is therefore written as that call too. `error` has the reason.
- The official executor changes texts in arguments: it prefixes each tool's name that is followed by a bracket
  ("use ls() here") with a name of its own, and drops blanks between a word and a bracket. To it, texts that differ
  only in this are equal. It does not accept infinity.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rest_verl.bfcl.memory.judge import final_message
from rest_verl.bfcl.scorer import read_bfcl
from rest_verl.bfcl.verdict.checker import NO_VERDICT, check_calls
from rest_verl.core.tool_calls import ToolCall, ToolSchemas, WireFormat
from rest_verl.data.files import write_whole
from rest_verl.eval.answers import Answer
from rest_verl.eval.conversation import Step
from rest_verl.eval.questions import Question
from rest_verl.eval.score import Replayed, replay_all
from rest_verl.reward.response import read_response
from rest_verl.rollout.calls import Call

NO_SUCH_TOOL = "no_such_tool"


async def export_bfcl(
    questions: Sequence[Question],
    answers: Iterable[Answer],
    wire_format: WireFormat,
    out: Path,
    as_model: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Path]:
    """Write the result files of one seed.

    Args:
        questions: BFCL's questions; others are ignored.
        answers: answers with one seed.
        wire_format: how the model writes.
        out: folder; existing files are replaced.
        as_model: a model of bfcl-eval's table whose handler is QwenFCHandler.
        on_progress: called with the number of questions done and of all.

    Returns:
        the files, by category.

    Raises:
        ValueError: the answers have several seeds, none is BFCL's, or as `replay_all`.
    """
    asked = [question for question in questions if question.source.startswith("bfcl_")]
    given = [answer for answer in answers if answer.source.startswith("bfcl_")]
    if len(seeds := sorted({answer.seed for answer in given})) > 1:
        raise ValueError(f"answers with the seeds {', '.join(map(str, seeds))}; choose one, a result file holds one")
    lines: dict[str, list[str]] = {}

    def visit(one: Replayed) -> None:
        if not one.question.judged:
            return
        lines.setdefault(_category(one), []).append(json.dumps(_entry(one, wire_format)) + "\n")

    await replay_all(asked, given, wire_format, visit, on_progress)
    files = {category: _path(out, as_model, category) for category in lines}
    for category, path in files.items():
        write_whole(path, "".join(lines[category]))
    return files


def _category(one: Replayed) -> str:
    return one.question.source.removeprefix("bfcl_")


def _path(out: Path, as_model: str, category: str) -> Path:
    if category.startswith("memory_"):
        group = f"agentic/memory/{category.removeprefix('memory_')}"
    else:
        group = next((name for name in ("multi_turn", "live") if category.startswith(name)), "non_live")
    return out / as_model.replace("/", "_") / group / f"BFCL_v4_{category}_result.json"


def _entry(one: Replayed, wire_format: WireFormat) -> dict[str, Any]:
    texts = [[step.text for step in turn] for turn in one.conversation.turns]
    counts = [(answer.prompt_tokens or 0, answer.completion_tokens or 0) for answer in one.answers]
    entry: dict[str, Any] = {
        "id": one.question.id,
        "result": "",
        "text": texts,
        "input_token_count": sum(count for count, _ in counts),
        "output_token_count": sum(count for _, count in counts),
    }
    if error := one.answers[-1].error:
        wrong = _as_qwen(NO_SUCH_TOOL, {}) if _category(one).endswith("irrelevance") else "Error during inference"
        return entry | {"result": wrong, "error": error}
    written = [text.encode("utf-8", "surrogatepass") for turn in texts for text in turn]
    response = read_response(written, wire_format, one.question.tools)
    if "environment" in one.question.row["extra_info"]:
        turns = [[_step_text(step, one.question.tools) for step in turn] for turn in one.conversation.turns]
        if _category(one).startswith("memory_") and (message := final_message(response)) is not None:
            turns[-1][-1] = message.replace("<tool_call>", "< tool_call>")
        return entry | {"result": turns}
    calls = [ToolCall(NO_SUCH_TOOL, {})] if _stops_the_scorer(one.question, response.readable) else response.readable
    return entry | {"result": "\n".join(_as_qwen(call.name, call.arguments) for call in calls)}


def _stops_the_scorer(question: Question, calls: Sequence[ToolCall]) -> bool:
    asked = read_bfcl(question.row["reward_model"]["ground_truth"])
    wrong = check_calls(asked.functions, calls, asked.possible_answer, asked.category)
    return wrong is not None and wrong.startswith(NO_VERDICT)


def _step_text(step: Step, tools: ToolSchemas) -> str:
    written = [call for call in step.calls if call.name is not None and call.arguments is not None]
    return "\n".join(_replayable(call, tools) for call in written)


def _replayable(call: Call, tools: ToolSchemas) -> str:
    """A call that has the same effect in the official executor, given all tools of the question."""
    arguments = call.arguments or {}
    can_be_written = all(key.isidentifier() and key.isascii() for key in arguments)
    if call.name is None or call.name not in tools or not can_be_written:
        return _as_qwen(NO_SUCH_TOOL, {})
    return _as_qwen(call.name, arguments)


def _as_qwen(name: str, arguments: Mapping[str, Any]) -> str:
    try:
        written = json.dumps({"name": name, "arguments": arguments})
    except (
        ValueError,
        RecursionError,
    ):  # integers of thousands of digits, lists nested a thousand deep: never correct
        written = json.dumps({"name": name, "arguments": {"not_written": True}})
    return f"<tool_call>\n{written}\n</tool_call>"
