"""The reward manager `rest_tool`: scores the exact bytes that the policy generated and logs every component."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import numpy as np
from omegaconf import DictConfig
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import register
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from rest_verl.config import ConfigError, load
from rest_verl.core.formats import get_format
from rest_verl.core.token_bytes import TokenBytes
from rest_verl.reward.toolrl import Bounds, GroundTruth, read_ground_truth, score_response, skipped_components

logger = logging.getLogger(__name__)


@lru_cache(maxsize=4096)
def _ground_truth(text: str) -> GroundTruth | None:
    """The ground truth of a row; None, and one line in the log, where it cannot be read."""
    try:
        return read_ground_truth(text)
    except ValueError as error:
        logger.warning("rows with this ground truth are skipped (`rest-verl data check FILE` lists all): %s", error)
        return None


@register("rest_tool")
class RestToolRewardManager(RewardManagerBase):
    """Format and correctness reward of ToolRL/ResT; the bounds follow the step at which the prompt was dispatched.

    Decoding ids with `skip_special_tokens` drops the tags of tokenizers that hold them as special tokens, and decoding
    the whole response scores what tools wrote. Neither happens here: ids become bytes by table, turn by turn.
    """

    def __init__(self, config: DictConfig, tokenizer: Any, compute_score: Any = None, **router: Any):
        super().__init__(config, tokenizer, compute_score)
        if (path := config.reward.custom_reward_function.path) is not None:
            raise ConfigError(
                f"reward.reward_manager.name=rest_tool scores by itself, so reward.custom_reward_function.path={path} "
                "would never be called: drop it, or set reward.reward_manager.name=naive"
            )
        rest = load(config)
        self._format = get_format(rest.format)
        self._table = TokenBytes.from_tokenizer(tokenizer)
        self._bounds = Bounds(
            rest.reward.format_min.schedule(),
            rest.reward.format_max.schedule(),
            rest.reward.correctness_min.schedule(),
            rest.reward.correctness_max.schedule(),
        )

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score one trajectory; of several outputs the last one."""
        item = data[-1:][0]
        row = item.non_tensor_batch
        responses = item.batch["responses"].numpy()
        length = int(item.batch["attention_mask"][-len(responses) :].sum())
        turns = [self._table.decode(responses[start:end]) for start, end in _turn_bounds(row, length)]
        truth = _ground_truth(row["reward_model"]["ground_truth"])
        if truth is None:
            components = skipped_components()
        else:
            components = score_response(turns, truth, self._format, self._bounds, int(row["global_steps"]))
        components["response_tokens"] = float(length)
        return {"reward_score": components["score"], "reward_extra_info": components}


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
