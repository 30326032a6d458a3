"""All that reads hostile text, as functions of a fuzzer's bytes that raise where something does not hold.

`TARGETS` has one for each wire format (parse, legality, calls by value, calls as the rollout reads them), one for the
tagger, one for the reward with its ground truths, one for its parts as credit by span places them, and one for BFCL's
arguments and ground truths. `trust.fuzzer` says how bytes become text and `trust.fuzz_checks` what must hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from trust.fuzz_checks import (
    TYPES,
    check_call,
    check_parts,
    check_reward,
    check_turn,
    check_types,
    expected_regions,
    hold,
    in_linear_time,
)
from trust.fuzzer import TAGS, as_text, assemble, pieces_of

from rest_verl.bfcl.verdict.checker import CATEGORIES, accepts, check_calls
from rest_verl.bfcl.verdict.tools import JAVA, JAVASCRIPT, PYTHON, Language
from rest_verl.config.rest import load
from rest_verl.config.reward import RewardConfig
from rest_verl.core.regions import Region, RegionTagger
from rest_verl.core.tool_calls import Kind, ToolCall, Turn, WireFormat
from rest_verl.formats import get_format
from rest_verl.formats.parse.json_calls import strict_json
from rest_verl.reward.progress import parts_of
from rest_verl.reward.scorers import get_scorer
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward
from rest_verl.reward.truth import read_ground_truth
from rest_verl.rollout.calls import read_calls

FORMATS = tuple(TAGS)
UNTYPED = ("qwen3_coder", "seed", "minimax", "glm")
TYPE_NAMES = tuple(TYPES)
KINDS = [Kind(calls, answer) for calls in (True, False) for answer in (True, False)]
RULES = ("paper", "toolrl", "strict")
PRESETS = {name: name for name in RULES} | {"parser": {"rules": "toolrl", "reading": "parser"}}
TOOLS = {"f": {"properties": {"a": {"type": "integer"}, "b": {"type": "array"}}}, "g": {}}
STEPS = (0, 1, 75, 149, 150, 10**7)
SEPARATOR = b"\x1e"  # between a ground truth and the turns of a response
MOST_DUE = 16  # calls of a ground truth: matching is linear in the response for what one row asks for, no more
CHAT = ("<|im_start|>assistant", "<|im_end|>", "<|eot_id|>", "\x1e", "<response> a </response>")
SOURCE = (
    *("new ArrayList<>(Arrays.asList(", "))", "new ArrayList<>() {{ ", "add(", "}}", "new int[]{", "[[", "], ["),
    *("new HashMap<>() {{ ", 'put("a", ', ");", "new Array(", "{a: ", "12L", "1.5f", "9n", "\x1e"),
)
CALL = '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {"a": 1, "b": ["x", {"c": null}]}}\n</tool_call>'
TRUTHS = (
    CALL,
    CALL.replace("\n</", '\n{"name": "f", "parameters": {"a": 1}}\n{"name": "g", "parameters": {}}\n</'),
    CALL + "\n<response> a </response>",
    "<think> t </think>\n<response> a </response>",
)


@dataclass(frozen=True)
class Target:
    """Something that reads hostile text."""

    check: Callable[[bytes], None]  # of a fuzzer's bytes; raises where an invariant does not hold
    pieces: Sequence[bytes]  # what texts are put together of


def check_format(name: str, data: bytes) -> None:
    """A turn in one wire format is parsed, judged for every kind, and read, in linear time.

    Spans and calls are sound (`check_turn`, `check_call`). A turn that is legal for calls has calls, all of them
    complete, and one that is legal for an answer has one, which is no malformed call. The rollout reads as many calls,
    under names of their own, and an answer that is whole text. Read by schema (`check_schemas`), no value is of
    another type than declared.
    """
    wire_format, text = get_format(name), assemble(data, pieces_of(name))
    with in_linear_time(len(text)):
        turn = wire_format.parse(text)
        legal = {kind: wire_format.is_legal(text, turn, kind) for kind in KINDS}
        malformed = wire_format.is_malformed_call(text, turn)
        calls = wire_format.read_calls(text, turn)
    check_turn(text, turn)
    for kind, is_legal in legal.items():
        hold(type(is_legal) is bool, "neither legal nor illegal", text)
        if is_legal:
            # rlla's rule asks for the blocks of a kind, whatever they hold.
            complete = name == "rlla" or all(call.complete for call in turn.calls)
            hold(complete and bool(turn.calls) == kind.calls, "legal without its calls", text, kind)
            hold(name == "rlla" or bool(turn.response) or not kind.answer, "legal without its answer", text, kind)
            hold(not (malformed and turn.response), "legal with a malformed call for an answer", text, kind)
    hold(not (malformed and turn.calls), "a malformed call next to calls", text)
    hold(len(calls) == len(turn.calls), "a call is lost", text)
    for call in calls:
        check_call(call)
    check_schemas(name, wire_format, text, turn, TYPE_NAMES[len(data) % len(TYPE_NAMES)])
    answer, rolled = read_calls(wire_format, [text, b""], [0])
    answer.encode()
    hold(len({call.tool_call_id for call in rolled}) == len(calls), "calls of one name in the rollout", text)


def check_schemas(name: str, wire_format: WireFormat, text: bytes, turn: Turn, declared: str) -> None:
    """Reading with tools never raises. Without types it is the reading without tools, and in formats that write no
    types each value is of the type that is declared for all of them."""
    names = [text[slice(*call.name)].decode(errors="replace") for call in turn.calls if call.name is not None]
    with in_linear_time(len(text)):
        typed = wire_format.read_calls(
            text, turn, {one: {"additionalProperties": {"type": declared}} for one in names}
        )
        untyped = wire_format.read_calls(text, turn, {one: {} for one in names})
    for call in typed:
        check_call(call)
        if name in UNTYPED:
            check_types(call, declared)
    # Kimi's tools decide about a call without arguments, whatever their types.
    if name != "kimi":
        hold(repr(untyped) == repr(wire_format.read_calls(text, turn)), "another reading without types", text)


def check_tagger(data: bytes) -> None:
    """Tokens in two rows and more have the regions that they touch, in the wire format of the first byte.

    Two bytes make a token and its place in the mask. There is one region a token, OTHER where the mask is 0, and each
    turn is tagged as the slow way tags it alone (`expected_regions`).
    """
    name = FORMATS[data[0] % len(FORMATS)] if data else FORMATS[0]
    width = 1 + data[1] % 64 if len(data) > 1 else 1
    vocabulary, tagger = _vocabulary(name), _tagger(name)
    pairs = [(data[at], data[at + 1]) for at in range(2, len(data) - 1, 2)]
    rows = max(2, -(-len(pairs) // width))
    pairs += [(0, 0xFF)] * (rows * width - len(pairs))
    ids = torch.tensor([_token_of(*pair) for pair in pairs]).view(rows, width)
    mask = torch.tensor([int(how & 0x18 != 0x18) for _, how in pairs]).view(rows, width)
    with in_linear_time(len(data)):
        regions = tagger(ids, mask)
    hold(regions.dtype == torch.int8 and regions.shape == ids.shape, "another shape", regions.shape)
    hold(bool(((regions >= 0) & (regions < len(Region))).all()), "no region", regions.tolist())
    parse = get_format(name).parse
    for row_ids, row_mask, found in zip(ids.tolist(), mask.tolist(), regions.tolist(), strict=True):
        expected: list[int] = []
        turn: list[bytes] = []
        for token, generated in [*zip(row_ids, row_mask, strict=True), (0, 0)]:
            if generated:
                turn.append(vocabulary[token] if 0 <= token < len(vocabulary) else b"")
            else:
                expected += [*expected_regions(turn, parse(b"".join(turn))), Region.OTHER]
                turn = []
        hold(found == expected[:-1], "other regions than the slow way finds", row_ids, found, expected)


def check_rewards(data: bytes) -> None:
    """A response of any turns to any ground truth has a sound reward (`check_reward`) by every preset, in linear time.

    The text is a ground truth and turns behind it; without turns the ground truth is its own answer, and where it asks
    for calls that answer is right. By the rules `strict` calls may come in any order. A ground truth that cannot be
    read is a ValueError and nothing else.
    """
    how, step = (*data[:2], 0, 0)[:2]
    name = FORMATS[how % len(FORMATS)]
    first, *turns = assemble(data[2:], pieces_of(name, *CHAT)).split(SEPARATOR)
    truth = read_ground_truth(TRUTHS[how // len(FORMATS) % len(TRUTHS)])
    own = False
    with suppress(ValueError), in_linear_time(len(first)):
        truth = read_ground_truth(as_text(first))
        own = not turns
    if len(truth.calls) > MOST_DUE:
        truth, own = read_ground_truth(CALL), False
    for preset in PRESETS:
        reward, settings = _reward(preset)
        wire_format = get_format("rlla" if own else name)
        at_step = RewardAtStep(reward, STEPS[step % len(STEPS)])
        with in_linear_time(sum(map(len, turns)) + len(first)):
            # As text the ground truth may have other bytes than those it was made of: what it was read from counts.
            response = reward.read(turns or [as_text(first).encode("utf-8", "surrogatepass")], wire_format)
            found = get_scorer("rlla").score(response, truth, at_step)
            beside = get_scorer("apibank_level1").score(response, truth, at_step)
        check_reward(found, settings, at_step.step, truth)
        check_reward(beside, settings, at_step.step, truth, ["acc_any", "acc_hard"], acc_is_exact=False)
        if settings.rules == "strict":
            turned = reward.score(replace(response, calls=response.calls[::-1]), truth, at_step.step)
            same = math.isclose(found["score"], turned["score"], abs_tol=1e-9) and found["acc"] == turned["acc"]
            hold(same, "the order of calls counts", first, turns, found, turned)
        if own and truth.kind.calls and preset in ("parser", "strict"):
            most = settings.correctness_max.schedule()(at_step.step)
            hold(found["acc"] == 1, "the right calls are not exact", first, found)
            hold(not found["legal"] or found["correctness"] == most, "the right calls earn less", first, found)


def check_events(data: bytes) -> None:
    """What turns in any format earned while they were written is placed soundly (`check_parts`), in linear time; and
    what was placed before a byte is the same where the text ends with that byte, so that no part depends on what is
    written later. The first byte says the format, the ground truth and the rule set, the second where the text is cut.
    """
    how, cut = (*data[:2], 0, 0)[:2]
    name = FORMATS[how % len(FORMATS)]
    truth = read_ground_truth(TRUTHS[how // len(FORMATS) % len(TRUTHS)])
    reward, _ = _reward(RULES[how // len(FORMATS) // len(TRUTHS) % len(RULES)])
    turns = assemble(data[2:], pieces_of(name, *CHAT)).split(SEPARATOR)
    last = len(turns) - 1
    kept = len(turns[last]) * cut // 256
    place = partial(parts_of, reward, wire_format=get_format(name), tools=TOOLS, truth=truth, step=STEPS[cut % 3])
    with in_linear_time(sum(map(len, turns))):
        parts = place(turns)
    check_parts(parts, turns)
    before = [part for part in parts if part < (last, kept)]
    shorter = place([*turns[:last], turns[last][:kept]])
    hold(before == shorter, "a part depends on what is written later", turns, kept, before, shorter)


def check_bfcl(data: bytes) -> None:
    """Arguments, responses and ground truths of BFCL have a verdict, in linear time.

    The text is a value and turns behind it. As an argument of every type in the category's language the value is right
    or wrong, and a call of it alone has the same verdict; source text is read to a value or not at all. As a ground
    truth it is read, or a ValueError. The turns, or else the value as a turn, have a sound reward to it.
    """
    how, place = (*data[:2], 0, 0)[:2]
    category = CATEGORIES[how % len(CATEGORIES)]
    name = ("pythonic", "hermes", "rlla")[how // len(CATEGORIES) % 3]
    first, *turns = assemble(data[2:], pieces_of(name, *SOURCE)).split(SEPARATOR)
    language = {"simple_java": JAVA, "simple_javascript": JAVASCRIPT}.get(category, PYTHON)
    with in_linear_time(len(first)):
        _check_value(_value(first, language), sorted(language.types)[place % len(language.types)], category, language)
    scorer = get_scorer("bfcl_any")
    asked = _asked(category)
    with suppress(ValueError), in_linear_time(len(first)):
        asked = scorer.read(as_text(first))
    for preset in ("paper", "strict"):
        reward, settings = _reward(preset)
        with in_linear_time(len(first) + sum(map(len, turns))):
            response = reward.read(turns or [first], get_format(name))
            found = scorer.score(response, asked, RewardAtStep(reward, place))
        check_reward(found, settings, place, asked.truth, acc_is_exact=False)
        if found["acc"] == 1 and "relevance" not in asked.category:
            due = len(asked.possible_answer) if "parallel" in asked.category else 1
            hold(len(response.readable) == due, "right with another number of calls", turns)


def _check_value(value: Any, declared: str, category: str, language: Language) -> None:
    """A value as an argument of a declared type has one verdict, by itself and in a call."""
    element = sorted(language.types)[len(declared) % len(language.types)]
    schema = {"type": declared, "items": {"type": element}}
    function = {"name": "f", "parameters": {"properties": {"a": schema}, "required": []}}
    accepted = {"a": ["x", 1, 1.5, True, ["x"], [1], [["x"]], {"a": ["x", 1]}, [{"a": [1]}], ""]}
    with suppress(ValueError):  # what cannot be decided
        language.read(value, declared, element)
    right = accepts(function, accepted, "a", value, category)
    hold(type(right) is bool, "neither right nor wrong", value)
    reason = check_calls([function], [ToolCall("f", {"a": value})], [{"f": accepted}], category)
    hold(reason is None or len(reason) < 300, "a reason as long as the text", reason)
    if "relevance" not in category:
        hold(right == (reason is None), "a verdict of its own for the argument", value, reason)


def _value(raw: bytes, language: Language) -> Any:
    """Source text for a language of source text, else what JSON makes of it."""
    if not language.as_text:
        with suppress(ValueError, RecursionError):
            return strict_json(raw)
    return as_text(raw)


@cache
def _reward(preset: str) -> tuple[ToolReward, RewardConfig]:
    settings = load({"rest": {"reward": PRESETS[preset]}}).reward
    return ToolReward(settings), settings


@cache
def _asked(category: str) -> Any:
    """A ground truth of BFCL whose tool has an argument of each type of its language."""
    language = {"simple_java": JAVA, "simple_javascript": JAVASCRIPT}.get(category, PYTHON)
    properties = {name: {"type": name, "items": {"type": "any"}} for name in language.types}
    function = {"name": "f", "parameters": {"type": "dict", "properties": properties, "required": []}}
    calls = 0 if "irrelevance" in category else 1
    answer = '{"name": "f", "parameters": {}}'
    accepted = {"f": {name: ["", "x", 1, ["x"], {"a": ["x"]}] for name in language.types}}
    written = {
        "answer": f"<tool_call>\n{answer}\n</tool_call>" if calls else "<response> a </response>",
        "functions": [function],
        "possible_answer": [accepted] * calls,
        "category": category,
    }
    return get_scorer("bfcl_any").read(json.dumps(written))


@cache
def _vocabulary(name: str) -> list[bytes]:
    """The bytes of each token: every single byte, two that end a turn and have none, and the pieces of a format."""
    longer = dict.fromkeys(piece for piece in pieces_of(name) if len(piece) > 1)
    return [*(bytes([byte]) for byte in range(256)), b"", b"", *longer]


@cache
def _tagger(name: str) -> RegionTagger:
    """The tagger of a byte-level tokenizer with this vocabulary."""
    character, ends = bytes_to_unicode(), ("<|end_of_turn|>", "<|padding|>")
    names = ["".join(character[byte] for byte in piece) for piece in _vocabulary(name)]
    names[256:258] = ends
    backend = Tokenizer(models.BPE(vocab={text: index for index, text in enumerate(names)}, merges=[]))
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=ends[0], pad_token=ends[1])
    return RegionTagger(tokenizer, get_format(name))


def _token_of(low: int, how: int) -> int:
    """A token's id: most of them a byte or a piece, some outside of every vocabulary."""
    if how & 0x06 == 0x06:
        return (-1, -(2**63), 2**63 - 1, 10**6)[low % 4]
    return low + 256 * (how & 1)


# Two bytes each: tokens of longer pieces, one outside of the mask, one outside of the vocabulary.
_TOKENS = (*(bytes([place, 1]) for place in range(2, 16)), b"\0\x18", b"\0\x06")
TARGETS = {
    "reward": Target(check_rewards, pieces_of("rlla", *CHAT)),
    "events": Target(check_events, pieces_of("rlla", *CHAT)),
    "bfcl": Target(check_bfcl, pieces_of("pythonic", *SOURCE)),
    "tagger": Target(check_tagger, _TOKENS),
    **{name: Target(partial(check_format, name), pieces_of(name)) for name in FORMATS},
}
