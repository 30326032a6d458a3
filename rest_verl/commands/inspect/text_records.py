"""Records of arbitrary texts: the weights that a preset would give their tokens at a step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from rest_verl.commands.inspect.sources import Message, TextRow
from rest_verl.common.names import unknown_name
from rest_verl.config.rest import RestConfig, load, preset_names
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.core.tokens import TokenBytes
from rest_verl.core.tool_calls import ToolSchemas
from rest_verl.formats import get_format
from rest_verl.records.schema import RecordMeta, StepRecords, with_meta
from rest_verl.rollout.safe_text import replace_lone_surrogates
from rest_verl.weighting.schemes import NEEDS, get_scheme
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import MEANINGS, TokenWeighting


def text_settings(preset: str, format: str, overrides: Sequence[str] = ()) -> RestConfig:
    """The settings for weighting texts.

    Args:
        preset: name of the preset.
        format: wire format of the texts.
        overrides: Hydra overrides of the `rest` node, such as rest.weights.think.start=0.3.

    Raises:
        ValueError: the preset is unknown or does not weight tokens, an override is invalid, or the scheme needs what
            only a run measures.
    """
    if preset not in (names := preset_names()):
        raise ValueError(f"--preset: {unknown_name('preset', preset, names)}")
    try:
        with initialize_config_module("rest_verl.hydra_configs", version_base=None):
            config = compose(f"rest/{preset}", [f"rest.format={format}", *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        # the rest names the searched folders
        raise ValueError(f"--set: {str(error).partition('Config search path')[0]}") from None
    if config.algorithm.adv_estimator != "rest":
        raise ValueError(f"--preset {preset}: all its weights are 1; name one that weights tokens, such as paper")
    rest = load(config)
    if needs := get_scheme(rest.scheme).needs:
        first = next(need for need in NEEDS if need in needs)
        raise ValueError(
            f"--preset {preset}: rest.scheme={rest.scheme} needs {MEANINGS[first]}, which texts do not have: use "
            "--preset paper, or inspect the records of a run (rest.dump_dir)"
        )
    return rest


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a response: their ids, whether the model generated each, and where each message ends."""

    ids: list[int]
    generated: list[bool]
    ends: list[int]


def text_records(
    rows: Sequence[TextRow], tokenizer: Any, rest: RestConfig, steps: Sequence[int]
) -> Iterator[StepRecords]:
    """Tokenise, tag and weight texts.

    Args:
        rows: at least one.
        tokenizer: a Hugging Face tokenizer.
        rest: settings of a scheme that needs nothing that only a run measures.
        steps: global steps at which to weight; the last one is the end of training for a curriculum over a fraction
            of it.

    Yields:
        the records of each step; advantage, entropy and log-probs are null.

    Raises:
        ValueError: the scheme needs more, or the bytes of the tokenizer's tokens cannot be read exactly.
    """
    try:
        pieces = TokenBytes.from_tokenizer(tokenizer, ends=True)
    except TypeError as error:
        raise ValueError(str(error)) from None
    tokens = [_tokenise(row.messages, tokenizer) for row in rows]
    longest = max(len(one.ids) for one in tokens)
    ids, mask = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.int64)
    for place, one in enumerate(tokens):
        ids[place, : len(one.ids)], mask[place, : len(one.ids)] = one.ids, one.generated
    response_mask = torch.from_numpy(mask)
    tagger = TAGGERS[rest.weights_from](tokenizer, get_format(rest.format))
    batch = TaggedBatch(tagger(torch.from_numpy(ids), response_mask), response_mask)
    lines = [_constant_fields(row, one, pieces, tokenizer, rest.format) for row, one in zip(rows, tokens, strict=True)]
    _number_groups(lines, rows)
    names = [region.label for region in sorted(Region)]
    for step in steps:
        weights = TokenWeighting(rest, max(steps))(StepBatch(step, batch)).numpy()
        for place, (line, one) in enumerate(zip(lines, tokens, strict=True)):
            length = len(one.ids)
            regions = batch.regions[place, :length].tolist()
            line |= {"step": step, "weight": weights[place, :length], "region": [names[region] for region in regions]}
        meta = RecordMeta(step, 0, rest.format, rest.scheme, rest.apply_in, rest.base_estimator, len(rows))
        yield StepRecords(meta, pa.Table.from_pylist(lines, schema=with_meta(meta)))


def _tokenise(messages: Sequence[Message], tokenizer: Any) -> _Tokens:
    tokens = _Tokens([], [], [])
    for message in messages:
        ids = tokenizer(replace_lone_surrogates(message.content), add_special_tokens=False)["input_ids"]
        tokens.ids.extend(ids)
        tokens.generated.extend([message.role == "assistant"] * len(ids))
        tokens.ends.append(len(tokens.ids))
    return tokens


def _constant_fields(row: TextRow, tokens: _Tokens, pieces: TokenBytes, tokenizer: Any, format: str) -> dict[str, Any]:
    """The fields of a record that are the same at every step."""
    prompt = replace_lone_surrogates(row.prompt)
    return {
        "output": 0,
        "picked": "sample",
        "data_source": row.data_source,
        "score": row.score,
        "reward": [],
        "prompt_ids": tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else [],
        "prompt": prompt.encode(),
        "ids": tokens.ids,
        "bytes": pieces.of(np.array(tokens.ids, dtype=np.int64)).to_pylist(),
        "generated": tokens.generated,
        "trained": tokens.generated,
        "turns": list(_turns(row, tokens.ends, format)),
    }


def _number_groups(lines: Sequence[dict[str, Any]], rows: Sequence[TextRow]) -> None:
    """Add each line's group and number within it: lines with the same prompt form a group, one without a prompt its
    own."""
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(f"prompt {row.prompt}" if row.prompt else f"line {place}", []).append(place)
    for number, places in enumerate(groups.values()):
        scores = [score for place in places if (score := rows[place].score) is not None]
        for session, place in enumerate(places):
            lines[place] |= {"uid": str(number), "session": session, "group_scores": scores}


def _turns(row: TextRow, ends: Sequence[int], format: str) -> Iterator[dict[str, Any]]:
    """The model's turns; the tool messages after a turn are the results of its calls, in order."""
    user_turn, messages = 0, row.messages
    for place, message in enumerate(messages):
        user_turn += message.role == "user"
        if message.role == "assistant":
            results = []
            for later in messages[place + 1 :]:
                if later.role != "tool":
                    break
                results.append(later.content)
            calls = list(_calls(message.content, format, row.tools))
            for call, result in zip(calls, results, strict=False):
                call["result"] = replace_lone_surrogates(result)
            begin = ends[place - 1] if place else 0
            yield {"begin": begin, "end": ends[place], "user_turn": user_turn, "seconds": None, "calls": calls}


def _calls(text: str, format: str, tools: ToolSchemas) -> Iterator[dict[str, Any]]:
    wire, raw = get_format(format), replace_lone_surrogates(text).encode()
    turn = wire.parse(raw)
    for span, call in zip(turn.calls, wire.read_calls(raw, turn, tools), strict=True):
        name = None if span.name is None else raw[slice(*span.name)].decode("utf-8", "replace")
        yield {
            "name": name,
            "arguments": None if call is None else json.dumps(call.arguments, ensure_ascii=False),
            "result": None,
            "error": "unreadable" if call is None else None,
            "seconds": None,
        }
