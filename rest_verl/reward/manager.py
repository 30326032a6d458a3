"""Reward manager `rest_tool`: scores the exact bytes that the policy generated and logs every component."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Integer
from omegaconf import DictConfig
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import NaiveRewardManager, register
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from rest_verl.common.logs import logger_of
from rest_verl.config.rest import ConfigError, load, model_of
from rest_verl.core.credit import Decided
from rest_verl.core.runs import Runs
from rest_verl.core.states import TAGGERS
from rest_verl.core.stops import end_ids, stop_ids, text_length
from rest_verl.core.tokens import TokenBytes
from rest_verl.core.tool_calls import ToolSchemas
from rest_verl.formats import get_format
from rest_verl.formats.tools import read_tools, tools_of_row
from rest_verl.reward.progress import parts_of
from rest_verl.reward.scorers import Scorer, get_scorer, score_environment
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward, skipped_components
from rest_verl.reward.truth import GroundTruth
from rest_verl.weighting.credit import EVENTS, write_events
from rest_verl.weighting.rows import OUTPUTS, RUNS

logger = logger_of(__name__)


def _read_truth(data_source: str, ground_truth: Any) -> tuple[Scorer, Any] | None:
    """The scorer and the ground truth of a row; None, with a warning in the log, if the truth cannot be read."""
    scorer = get_scorer(data_source)
    try:
        return scorer, scorer.read(ground_truth)
    except ValueError as error:
        logger.warning("rows with this ground truth are skipped (`rest-verl data check FILE` lists all): %s", error)
        return None


# The responses to one prompt are scored one by one, and reading its ground truth costs as much as reading one of them.
_read_once = lru_cache(maxsize=4096)(_read_truth)
TurnIds = Integer[np.ndarray, " token"]


def _find(data_source: str, ground_truth: Any) -> tuple[Scorer, Any] | None:
    return (_read_once if isinstance(ground_truth, Hashable) else _read_truth)(data_source, ground_truth)


def _truth_of_reward(row: dict[str, Any]) -> GroundTruth | None:
    """The ground truth to which the run's reward gives the score of a row; None where it cannot be read, or if the
    scorer does not name it (`Scorer.truth`): then all of the score is decided at the end."""
    found = _find(row["data_source"], row["reward_model"]["ground_truth"])
    return None if found is None or found[0].truth is None else found[0].truth(found[1])


@register("rest_tool")
class RestToolRewardManager(RewardManagerBase):
    """The reward of `rest.reward`, from the scorer of the row's data source or from the row's environment, at the step
    at which the prompt was dispatched.

    Decoding ids with `skip_special_tokens` would drop tags that are special tokens, and decoding the whole response
    would score the tools' output. Here ids become bytes through a table, turn by turn.

    A `reward.custom_reward_function` is called as verl's own manager calls it, and its score is the reward. The
    components of `rest.reward` are logged with it if the ground truth can be read, their sum as `rest_score`.
    """

    def __init__(self, config: DictConfig, tokenizer: Any, compute_score: Any = None, **router: Any):
        super().__init__(config, tokenizer, compute_score)
        rest = load(config)
        self._format = get_format(rest.format)
        self._table = TokenBytes.from_tokenizer(tokenizer)
        self._ends = end_ids(tokenizer, self._format, stop_ids(tokenizer, model_of(config)))
        self._reward = ToolReward(rest.reward)
        self._credit = rest.credit
        self._tagger = TAGGERS[rest.weights_from](tokenizer, self._format, model_of(config))
        self._custom = None
        if config.reward.custom_reward_function.path is not None:
            self._custom = NaiveRewardManager(config, tokenizer, compute_score, **router)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score one trajectory: the last of several outputs, or all of them together if each is a turn."""
        row = data[-1:][0].non_tensor_batch
        fields = row.get("tool_extra_fields") or {}
        outputs = [data[index] for index in range(len(data))] if fields.get("rest_per_turn") else [data[-1:][0]]
        lengths = [_response_length(output) for output in outputs]
        ids = [turn for output, length in zip(outputs, lengths, strict=True) for turn in _turn_ids(output, length)]
        turns = [self._text(turn) for turn in ids]
        # Where each output of the trajectory is scored, its tokens are tagged here: the trainer is one process.
        runs = {RUNS: self._runs(outputs, lengths) if len(outputs) == len(data) else ""}
        components = self._score(turns, row)
        components["response_tokens"] = float(sum(lengths))
        components |= {f"rollout/{key}": value for key, value in fields.get("rest_rollout", {}).items()}
        if self._custom is None:
            events = {} if self._credit == "trajectory" else {EVENTS: write_events(self._decided(ids, turns, row))}
            return {"reward_score": components["score"], "reward_extra_info": components | events | runs}
        custom = await self._custom.run_single(data)
        rest_components = {} if components["skipped"] else components | {"rest_score": components["score"]}
        extra = rest_components | {"score": custom["reward_score"]} | custom["reward_extra_info"] | runs
        return {"reward_score": custom["reward_score"], "reward_extra_info": extra}

    def _decided(self, ids: Sequence[TurnIds], turns: Sequence[bytes], row: dict[str, Any]) -> list[Decided]:
        """What was decided before the end of a trajectory, in units of the reward (`weighting.credit`). Environments
        score turns as shares of the correctness reward, verl's tools in the units of the reward itself."""
        fields, step = row.get("tool_extra_fields") or {}, int(row["global_steps"])
        is_judged = "rest_environment" in fields
        scale = self._reward.correctness_range(step) if is_judged else 1.0
        by_turn = [Decided(token, scale * amount) for token, amount in fields.get("rest_decided", ())]
        if self._credit == "turn" or is_judged or (truth := _truth_of_reward(row)) is None:
            return by_turn
        parts = parts_of(self._reward, turns, self._format, _tools(row), truth, step)
        first = np.cumsum([0, *map(len, ids)])
        places = [self._table.gather(turn)[1] for turn in ids]
        by_span = [
            Decided(int(first[part.turn]) + _token_at(places[part.turn], part.byte), part.amount, part.ends_reasoning)
            for part in parts
        ]
        return sorted([*by_turn, *by_span])

    def _runs(self, outputs: Sequence[Any], lengths: Sequence[int]) -> str:
        """The runs of the outputs of a trajectory as text (`core.runs`)."""
        ids, generated = [], []
        for output, length in zip(outputs, lengths, strict=True):
            ids.append(output.batch["responses"][:length])
            generated.append(torch.zeros(length, dtype=torch.bool))
            for start, end in _turn_bounds(output.non_tensor_batch, length):
                generated[-1][start:end] = True
        of_outputs, flat = torch.tensor(lengths), torch.cat(generated)
        return OUTPUTS.join(Runs.of(self._tagger.tag(torch.cat(ids), flat, of_outputs), flat, of_outputs).written())

    def _text(self, turn: TurnIds) -> bytes:
        """The bytes of a turn, without the tokens that end it."""
        return self._table.decode(turn[: text_length(turn, self._ends)])

    def _score(self, turns: Sequence[bytes], row: dict[str, Any]) -> dict[str, float]:
        """Reward components of a row."""
        response = self._reward.read(turns, self._format, _tools(row))
        reward = RewardAtStep(self._reward, int(row["global_steps"]))
        judged = (row.get("tool_extra_fields") or {}).get("rest_environment")
        if judged is not None:
            return score_environment(response, judged, reward)
        data_source, ground_truth = row["data_source"], row["reward_model"]["ground_truth"]
        found = _find(data_source, ground_truth)
        if found is None:
            return skipped_components()
        scorer, truth = found
        components = scorer.score(response, truth, reward)
        if "score" not in components:
            raise ConfigError(
                f"the scorer of data source {data_source!r} returned {sorted(components)} without 'score': return a "
                "dict of numbers in which 'score' is the reward"
            )
        return components | {"skipped": 0.0}


def _turn_ids(output: Any, length: int) -> list[TurnIds]:
    """The tokens of each turn that the policy generated."""
    responses = output.batch["responses"].numpy()
    return [responses[start:end] for start, end in _turn_bounds(output.non_tensor_batch, length)]


def _token_at(starts: Int64[np.ndarray, " edge"], byte: int) -> int:
    """The token of a turn that contains a byte of its text; the turn's last token for the byte after its text."""
    return min(int(np.searchsorted(starts, byte, side="right")) - 1, len(starts) - 2)


def _tools(row: dict[str, Any]) -> ToolSchemas:
    """The tools that the policy was offered: those of the row, and those that the agent loop added."""
    added = (row.get("tool_extra_fields") or {}).get("rest_tools")
    tools = tools_of_row(row.get("extra_info"))
    return {**tools, **read_tools(added)} if added else tools


def _response_length(output: Any) -> int:
    """Number of tokens in an output's response, without padding."""
    if "response_len" in output.non_tensor_batch:
        return int(output.non_tensor_batch["response_len"])
    # verl also scores whole batches, with prompts padded on the left: all responses begin at the same position.
    return int(output.batch["attention_mask"][-len(output.batch["responses"]) :].sum())


def _turn_bounds(row: dict[str, Any], length: int) -> list[tuple[int, int]]:
    """Bounds [start, end) of the generated turns, in response tokens."""
    recorded = (row.get("tool_extra_fields") or {}).get("rest_turns")
    if recorded is not None:
        return [(start, end) for start, end in recorded]
    if np.any(row["__num_turns__"] > 2):
        raise ConfigError(
            "a multi-turn trajectory without the bounds of its turns: tool output would be scored as the policy's own "
            "text. Set actor_rollout_ref.rollout.agent.default_agent_loop=rest_tool_agent (or agent_name in the row)"
        )
    return [(0, length)]
