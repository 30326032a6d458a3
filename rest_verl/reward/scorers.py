"""Scorers, which read and score the rows of a data source, and their registry.

A scorer is registered for a pattern of data sources (`bfcl_*`). The longest matching pattern wins; `*` matches every
source and scores ground truths in the rlla format.

- `*`: rows whose ground truth is a turn in the rlla format, as in ToolRL's data; the reward of the settings.
- `apibank_*`: API-Bank (arXiv 2304.08244) as ToolRL processed it, with the accuracy that ToolRL and ResT publish.
  `acc`, the published soft score: 1 if any line after the last `<tool_call>` (of the whole text, if there is none) is
  the due call, the first of the answer. Lines that are not JSON are skipped; an object without name or parameters
  counts as the parameters of the right call; a number, a truth value or null ends the search. So junk next to the
  right call costs nothing, and tag and name can be missing. In another format than rlla it looks at the calls that can
  be read. `acc_any`: 1 if any call that the parser reads is a due call. `acc_hard`: 1 if the due calls are the only
  calls of the response. `acc` compares values as Python does (true equals 1), the other two as JSON does.
- `bfcl_*`: see `rest_verl.bfcl.scorer`; `bfcl_memory_*`: see `rest_verl.bfcl.memory.scorer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rest_verl.common.names import Registry
from rest_verl.formats.rlla import RLLA
from rest_verl.reward.response import Response
from rest_verl.reward.tool_reward import RewardAtStep
from rest_verl.reward.truth import DueCall, GroundTruth, read_ground_truth, same_calls


@dataclass(frozen=True)
class Scorer:
    """A registered scorer.

    Attributes:
        score: function from a response, the result of `read` and the run's reward to components by name: `score` is
            the reward, `acc` the first number in validation reports, and any others are logged.
        read: function from a row's `reward_model.ground_truth` to the input of `score`; ValueError if the row cannot
            be read: such rows are skipped and counted.
        truth: function from the result of `read` to the ground truth with which `score` asks the reward of the run.
            From it follow the parts of the score for `rest.credit=span` (`reward.progress`); what else the score has
            is decided at the end. None if the score has nothing to do with that reward: then all of it is.
    """

    score: Callable[[Response, Any, RewardAtStep], dict[str, float]]
    read: Callable[[Any], Any]
    truth: Callable[[Any], GroundTruth] | None = None


_SCORERS: Registry[Scorer] = Registry(
    "scorer", modules={"bfcl_*": "rest_verl.bfcl.scorer", "bfcl_memory_*": "rest_verl.bfcl.memory.scorer"}
)


def _unchanged(ground_truth: Any) -> Any:
    return ground_truth


def register_scorer(
    pattern: str, read: Callable[[Any], Any] = _unchanged, truth: Callable[[Any], GroundTruth] | None = None
) -> Callable[[Callable], Callable]:
    """Decorator that registers the function of a scorer; see `Scorer` for the arguments.

    Args:
        pattern: pattern of the data sources that it scores, such as `shop_*`.
        read: reader of ground truths; the default passes them on unchanged.
        truth: see `Scorer`; left out, the score has no parts.

    Raises:
        ValueError: the pattern is taken.
    """
    _SCORERS.check_free(pattern)

    def register(score: Callable[[Response, Any, RewardAtStep], dict[str, float]]) -> Callable:
        _SCORERS.add(pattern, Scorer(score, read, truth))
        return score

    return register


def get_scorer(data_source: str) -> Scorer:
    """Return the scorer of a data source."""
    fitting = [pattern for pattern in _SCORERS.names() if fnmatchcase(data_source, pattern)]
    return _SCORERS.get(max(fitting, key=len))


@register_scorer("*", read=read_ground_truth, truth=_unchanged)
def score_rlla(response: Response, truth: GroundTruth, reward: RewardAtStep) -> dict[str, float]:
    """Score a response with the reward of the run (`Scorer.score`)."""
    return reward(response, truth)


@register_scorer("apibank_*", read=read_ground_truth, truth=_unchanged)
def score_apibank(response: Response, truth: GroundTruth, reward: RewardAtStep) -> dict[str, float]:
    """Score a response with the reward of the run and API-Bank's accuracies (`Scorer.score`)."""
    soft = any(_is_soft_match(lines, due) for due in truth.calls[:1] for lines in _written_lines(response))
    some = any(same_calls([due], [call]) for due in truth.calls for call in response.calls if call is not None)
    hard = response.parse_ok and same_calls(truth.calls, response.readable)
    return reward(response, truth) | {"acc": float(soft), "acc_any": float(some), "acc_hard": float(hard)}


def _written_lines(response: Response) -> Iterator[list[Any]]:
    """What API-Bank's code sees of each turn: the JSON values of the lines after its last opening tag."""
    if response.wire_format is not RLLA:
        yield [{"name": call.name, "parameters": call.arguments} for call in response.calls if call is not None]
        return
    for text in response.texts:
        block = text.decode("utf-8", "replace").split("<tool_call>")[-1].split("</tool_call>")[0]
        yield list(_json_values(block.strip().split("\n")))


def _json_values(lines: Iterable[str]) -> Iterator[Any]:
    """The values of the lines that are JSON."""
    for line in lines:
        with suppress(ValueError, RecursionError):
            yield json.loads(line)


def _is_soft_match(written: Iterable[Any], due: DueCall) -> bool:
    """Whether API-Bank's code finds the due call among the values before the first one that stops it."""
    try:
        for value in written:
            call = json.loads(value) if isinstance(value, str) else value
            named = "name" in call and "parameters" in call
            name, parameters = (call["name"], call["parameters"]) if named else (due.name, call)
            if name == due.name and parameters == due.arguments:
                return True
    except (
        ValueError,
        TypeError,
        RecursionError,
    ):  # no JSON in a string, or a value in which nothing can be looked up
        return False
    return False


def score_environment(response: Response, judged: Mapping[str, float], reward: RewardAtStep) -> dict[str, float]:
    """Score a trajectory with the result of its environment (`rollout.environment`).

    Args:
        response: the turns that the policy generated.
        judged: result of `Environment.score`, checked by the agent loop: `score` is the share of the correctness
            reward, `acc` is reported unchanged, and any other number is logged under `environment/`, where it
            replaces no component of the reward.
        reward: the reward of the run.
    """
    share = judged["score"]
    further = {f"environment/{key}": value for key, value in judged.items() if key not in ("score", "acc")}
    return reward.score_share(response, share) | {"share": share, "acc": judged["acc"]} | further
