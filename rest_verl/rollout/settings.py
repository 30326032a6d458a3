"""Settings and tables that all trajectories of a process share; the tables are slow to build.

verl makes a loop object for every trajectory, from one config and one tokenizer per process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from verl.experimental.agent_loop.tool_parser import ToolParser

from rest_verl.config.rest import load, model_of
from rest_verl.config.rollout import RolloutConfig
from rest_verl.core.stops import end_ids, stop_ids
from rest_verl.core.tokens import TokenBytes
from rest_verl.core.tool_calls import WireFormat
from rest_verl.formats import get_format
from rest_verl.rollout.safe_text import SafeText, safe_text


@dataclass(frozen=True)
class LoopSettings:
    """Settings and tables of the agent loop.

    Attributes:
        rollout: limits of a trajectory.
        records_turns: whether a trajectory carries its turn table. Only token records read it, and the queue would
            carry it to every rank.
        wire_format: wire format of the policy.
        pieces: bytes of each token; the last entry, which is empty, stands for every id outside of the vocabulary. A
            plain list: for the ids of one turn it is faster than Arrow, which releases the interpreter's lock.
        ends: ids that are no text at the end of a turn.
        make_safe: function that makes text of tools and users safe.
        stop_token_ids: tokens at which verl ends a generation in this format; empty if verl does not know the format.
    """

    rollout: RolloutConfig
    records_turns: bool
    wire_format: WireFormat
    pieces: list[bytes]
    ends: frozenset[int]
    make_safe: SafeText
    stop_token_ids: list[int]


_last: tuple[Any, Any, LoopSettings] | None = None


def settings_of(config: DictConfig | Mapping[str, Any], tokenizer: Any) -> LoopSettings:
    """The settings of a run's config, cached for the latest config and tokenizer.

    Raises:
        ConfigError: a setting in `rest` is invalid.
    """
    global _last
    if _last is None or _last[0] is not config or _last[1] is not tokenizer:
        _last = config, tokenizer, _build(config, tokenizer)
    return _last[2]


def _build(config: DictConfig | Mapping[str, Any], tokenizer: Any) -> LoopSettings:
    rest = load(config)
    wire_format = get_format(rest.format)
    return LoopSettings(
        rollout=rest.rollout,
        records_turns=rest.dump_dir is not None,
        wire_format=wire_format,
        pieces=TokenBytes.from_tokenizer(tokenizer).pieces.to_pylist(),
        ends=end_ids(tokenizer, wire_format, stop_ids(tokenizer, model_of(config))),
        make_safe=safe_text(tokenizer),
        stop_token_ids=_stop_token_ids(rest.format, tokenizer),
    )


def _stop_token_ids(format_name: str, tokenizer: Any) -> list[int]:
    """Tokens that end a call: some models continue after it unless the engine stops them. verl's parsers know them."""
    if format_name not in ToolParser._registry:
        return []
    return list(ToolParser.get_tool_parser(format_name, tokenizer).stop_token_ids)
