"""The reward manager `rest_tool`: scores the exact bytes that the policy generated and logs every component."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from omegaconf import DictConfig
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import NaiveRewardManager, register
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from rest_verl.config import ConfigError, load
from rest_verl.core.formats import get_format
from rest_verl.core.token_bytes import TokenBytes
from rest_verl.reward.scorers import Scorer, get_scorer
from rest_verl.reward.tool_reward import ToolReward, skipped_components

logger = logging.getLogger(__name__)


def _read_truth(data_source: str, ground_truth: Any) -> tuple[Scorer, Any] | None:
    """The scorer of a row and its ground truth; None, and one line in the log, where that cannot be read."""
    scorer = get_scorer(data_source)
    try:
        return scorer, scorer.read(ground_truth)
    except ValueError as error:
        logger.warning("rows with this ground truth are skipped (`rest-verl data check FILE` lists all): %s", error)
        return None


# The responses to one prompt are scored one by one, and its ground truth is as long as any of them.
_read_once = lru_cache(maxsize=4096)(_read_truth)


@register("rest_tool")
class RestToolRewardManager(RewardManagerBase):
    """The reward of `rest.reward`, by the scorer of the row's data source, at the step at which its prompt was
    dispatched.

    Decoding ids with `skip_special_tokens` drops the tags of tokenizers that hold them as special tokens, and decoding
    the whole response scores what tools wrote. Neither happens here: ids become bytes by table, turn by turn.

    A `reward.custom_reward_function` is called as verl's own manager calls it, and its score is the reward; the
    components of `rest.reward` are logged beside it, their sum as `rest_score`, where they can read the ground truth.
    """

    def __init__(self, config: DictConfig, tokenizer: Any, compute_score: Any = None, **router: Any):
        super().__init__(config, tokenizer, compute_score)
        rest = load(config)
        self._format = get_format(rest.format)
        self._table = TokenBytes.from_tokenizer(tokenizer)
        self._reward = ToolReward(rest.reward)
        self._custom = None
        if config.reward.custom_reward_function.path is not None:
            self._custom = NaiveRewardManager(config, tokenizer, compute_score, **router)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score one trajectory; of several outputs the last one."""
        item = data[-1:][0]
        row = item.non_tensor_batch
        responses = item.batch["responses"].numpy()
        length = int(item.batch["attention_mask"][-len(responses) :].sum())
        turns = [self._table.decode(responses[start:end]) for start, end in _turn_bounds(row, length)]
        components = self._score(turns, row)
        components["response_tokens"] = float(length)
        if self._custom is None:
            return {"reward_score": components["score"], "reward_extra_info": components}
        custom = await self._custom.run_single(data)
        beside = {} if components["skipped"] else components | {"rest_score": components["score"]}
        extra = beside | {"score": custom["reward_score"]} | custom["reward_extra_info"]
        return {"reward_score": custom["reward_score"], "reward_extra_info": extra}

    def _score(self, turns: Sequence[bytes], row: dict[str, Any]) -> dict[str, float]:
        """Components of the reward of a row."""
        data_source, ground_truth = row["data_source"], row["reward_model"]["ground_truth"]
        found = (_read_once if isinstance(ground_truth, Hashable) else _read_truth)(data_source, ground_truth)
        if found is None:
            return skipped_components()
        scorer, truth = found
        step = int(row["global_steps"])
        response = self._reward.read(turns, self._format)
        components = scorer.score(response, truth, lambda asked, due: self._reward.score(asked, due, step))
        if "score" not in components:
            raise ConfigError(
                f"the scorer of data source {data_source!r} returned {sorted(components)} without 'score': it must "
                "return a dict of numbers in which 'score' is the reward"
            )
        return components | {"skipped": 0.0}


def _turn_bounds(row: dict[str, Any], length: int) -> list[tuple[int, int]]:
    """Bounds of the generated turns, in response tokens."""
    recorded = (row.get("tool_extra_fields") or {}).get("rest_turns")
    if recorded is not None:
        return [(start, end) for start, end in recorded]
    if np.any(row["__num_turns__"] > 2):
        raise ConfigError(
            "a multi-turn trajectory without the bounds of its turns: tool output would be scored as the policy's own "
            "words. Set actor_rollout_ref.rollout.agent.default_agent_loop=rest_tool_agent (or agent_name in the row)"
        )
    return [(0, length)]
