"""The reward of a response, R = F + C + L, from the settings `rest.reward`.

    F = F_max(s) if the response is legal for the kind of its ground truth, else F_min(s)
    C = C_min(s) + (C_max(s) - C_min(s)) * share
    L = L_min + (L_max - L_min) * min(1, words of reasoning / W(s))      off by default

where share comes from `reward.toolrl` or `reward.strict` and s is the global step. Under the rules `toolrl`, C = 0 if
no call is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rest_verl.config.reward import RewardConfig
from rest_verl.core.tool_calls import NO_TOOLS, CallSpan, ToolCall, ToolSchemas, WireFormat
from rest_verl.reward.first_block import FirstBlockResponse, first_block_of
from rest_verl.reward.response import Response, read_open, read_response
from rest_verl.reward.strict import is_strictly_legal, is_strictly_legal_for_some_kind, match_best
from rest_verl.reward.toolrl import match_in_order
from rest_verl.reward.truth import GroundTruth, Match, same_calls

# Names of the logged components of the reward.
COMPONENTS = (
    "score",
    "format",
    "correctness",
    "length",
    "legal",
    "name",
    "arg_keys",
    "arg_values",
    "parse_ok",
    "calls",
    "extra_calls",
    "acc",
    "skipped",
)


@dataclass(frozen=True)
class RewardAtStep:
    """The reward of a run at one step, as scorers receive it."""

    reward: ToolReward
    step: int

    def __call__(self, response: Response, truth: GroundTruth) -> dict[str, float]:
        """Reward components of a response, given its ground truth (`ToolReward.score`)."""
        return self.reward.score(response, truth, self.step)

    def score_share(self, response: Response, share: float) -> dict[str, float]:
        """Reward components of a response whose calls were judged elsewhere (`ToolReward.score_share`)."""
        return self.reward.score_share(response, share, self.step)


class ToolReward:
    """The reward under the settings of a run; stateless."""

    def __init__(self, settings: RewardConfig):
        self._settings = settings
        self._strict = settings.rules == "strict"
        self._format_min = settings.format_min.schedule()
        self._format_max = settings.format_max.schedule()
        self._correctness_min = settings.correctness_min.schedule()
        self._correctness_max = settings.correctness_max.schedule()
        self._words = settings.length.words.schedule()

    def read(self, texts: Sequence[bytes], wire_format: WireFormat, tools: ToolSchemas = NO_TOOLS) -> Response:
        """Parse the turns that the policy generated, in the way that `rest.reward.reading` selects, with the tools of
        the row."""
        response = read_response(texts, wire_format, tools)
        return response if self._strict or self._settings.reading == "parser" else first_block_of(response)

    def read_open(
        self, before: Response, text: bytes, tools: ToolSchemas, known: dict[CallSpan, ToolCall | None]
    ) -> Response:
        """Parse a turn that may go on, after the turns before it (`reward.response.read_open`), as `read` does."""
        response = read_open(before, text, tools, known)
        return first_block_of(response, is_open=True) if isinstance(before, FirstBlockResponse) else response

    def score(self, response: Response, truth: GroundTruth, step: int) -> dict[str, float]:
        """Score a response.

        Args:
            response: from `read`.
            truth: ground truth of the row.
            step: global step.

        Returns:
            `COMPONENTS` by name; `score` is the reward. `acc` depends neither on the rules nor on the step: 1 if the
            calls are exactly those due, in any order, or, where none is due, if there is an answer and no call.
        """
        legal = self.is_legal(response, truth)
        match = self._match(response, truth, legal)
        correctness = 0.0
        if truth.kind.calls or self._strict:
            low, high = self._correctness_min(step), self._correctness_max(step)
            correctness = low + (high - low) * match.share
        return self._sum(response, correctness, legal, step) | {
            "name": match.name,
            "arg_keys": match.arg_keys,
            "arg_values": match.arg_values,
            "extra_calls": float(max(len(response.calls) - len(truth.calls), 0)),
            "acc": float(is_exact(response, truth)),
        }

    def is_legal(self, response: Response, truth: GroundTruth) -> bool:
        """Whether a response earns the format reward."""
        return is_strictly_legal(response, truth.kind) if self._strict else response.is_legal(truth.kind)

    def share(self, response: Response, truth: GroundTruth) -> float:
        """Share of the correctness reward that the calls of a response earn, if it is legal."""
        return self._match(response, truth, legal=True).share

    def format_range(self, step: int) -> float:
        """What a legal response is worth: F_max(s) - F_min(s)."""
        return self._format_max(step) - self._format_min(step)

    def correctness_range(self, step: int) -> float:
        """What a share of 1 is worth: C_max(s) - C_min(s)."""
        return self._correctness_max(step) - self._correctness_min(step)

    def score_share(self, response: Response, share: float, step: int) -> dict[str, float]:
        """Score a response whose calls were judged elsewhere, for example by its environment.

        Args:
            response: from `read`.
            share: share of the correctness reward, in [0, 1].
            step: global step.

        Returns:
            The `COMPONENTS` that need no ground truth, without `acc`. The format reward requires each turn to be legal
            for some kind, and under the rules `strict` so does the correctness reward.
        """
        rule = is_strictly_legal_for_some_kind if self._strict else Response.is_legal_for_some_kind
        legal = rule(response)
        low, high = self._correctness_min(step), self._correctness_max(step)
        earned = share if legal or not self._strict else 0.0
        return self._sum(response, low + (high - low) * earned, legal, step)

    def _sum(self, response: Response, correctness: float, legal: bool, step: int) -> dict[str, float]:
        """The reward, its parts, and the components that depend on the text alone."""
        format_reward = self._format_max(step) if legal else self._format_min(step)
        length = self._length(response, step)
        return {
            "score": format_reward + correctness + length,
            "format": format_reward,
            "correctness": correctness,
            "length": length,
            "legal": float(legal),
            "parse_ok": float(response.parse_ok),
            "calls": float(len(response.calls)),
            "skipped": 0.0,
        }

    def _match(self, response: Response, truth: GroundTruth, legal: bool) -> Match:
        if not truth.calls:  # any call is right, or no call at all
            right = bool(response.readable) if truth.kind.calls else response.answered and not response.calls
            return Match(float(right and (legal or not self._strict)))
        if not self._strict:
            return match_in_order(truth.calls, response.written, self._settings.granularity)
        match = match_best(truth.calls, response.readable)
        return match if legal else Match(0.0, match.name, match.arg_keys, match.arg_values)

    def _length(self, response: Response, step: int) -> float:
        bounds = self._settings.length
        if bounds.min == bounds.max:
            return bounds.max
        # Rounded to two digits, as in ToolRL.
        share = min(1.0, round(response.reasoning_words() / self._words(step), 2))
        return bounds.min + (bounds.max - bounds.min) * share


def skipped_components() -> dict[str, float]:
    """Components of a response whose ground truth cannot be read: 0, except `skipped`. All responses to the prompt
    score alike, so their group-relative advantages are 0."""
    return dict.fromkeys(COMPONENTS, 0.0) | {"skipped": 1.0}


def is_exact(response: Response, truth: GroundTruth) -> bool:
    """Whether a response makes exactly the due calls, or answers without a call where none is due."""
    if not truth.kind.calls:
        return response.answered and not response.calls
    if not truth.calls:
        return bool(response.readable)
    return response.parse_ok and same_calls(truth.calls, response.readable)
