"""Regions of tokens, and a batch with them."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples

from rest_verl.core.malformed import MalformedTagger
from rest_verl.core.regions import Region, RegionTagger, TaggedBatch, paint_tokens, turn_edges
from rest_verl.formats import get_format

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region
PRECEDENCE = (NAME, ARGS, FORMAT, RESPONSE, THINK)

fragments = st.sampled_from([*'ab {}[]":,\\\nüß東🙂', "<tool_call>", "</tool_call>", '{"name": "x"}', "</"])
texts = st.lists(fragments, max_size=10).map("".join)
arguments = st.dictionaries(texts, texts | st.integers() | st.dictionaries(texts, texts, max_size=2), max_size=3)


def encoded(value, draw):
    return json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode()


@st.composite
def labelled_calls(draw, key, other):
    """One call as (bytes, region) parts, name or arguments first, maybe with misleading members."""
    name = [(b'"name": "', OTHER), (encoded(draw(texts), draw)[1:-1], NAME), (b'"', OTHER)]
    members = [name, [(key + b": ", OTHER), (encoded(draw(arguments), draw), ARGS)]]
    if draw(st.booleans()):
        members.append([(b'"id" : ' + encoded({"name": "y", "arguments": {"z": []}}, draw), OTHER)])
    if draw(st.booleans()):
        members.append([(other + b': {"z": []}', OTHER)])
    first, *others = draw(st.permutations(members))
    joined = [part for member in others for part in [(b", ", OTHER), *member]]
    return [(b"{", OTHER), *first, *joined, (b"}", OTHER)]


@st.composite
def rlla_turns(draw):
    """A turn of rlla as (bytes, region) parts."""
    parts = [(b"<think>", FORMAT), (draw(texts).encode(), THINK), (b"</think>", FORMAT), (b"\n", OTHER)]
    if calls := draw(st.lists(labelled_calls(b'"parameters"', b'"arguments"'), max_size=2)):
        lines = [part for call in calls for part in [*call, (b"\n", OTHER)]]
        parts += [(b"<tool_call>", FORMAT), (b"\n", OTHER), *lines, (b"</tool_call>", FORMAT), (b"\n x", OTHER)]
    if draw(st.booleans()):
        parts += [(b"<response>", FORMAT), (draw(texts).encode(), RESPONSE), (b"</response>", FORMAT)]
    return parts


@st.composite
def hermes_turns(draw):
    """A turn of hermes as (bytes, region) parts, with text or mere white space outside of the blocks."""
    outside = st.sampled_from([(b"\n", OTHER), (b" \r\n", OTHER), (b"\n I look it up: {\xc3\xbc} ", RESPONSE)])
    parts = [(b"<think>", FORMAT), (draw(texts).encode(), THINK), (b"</think>", FORMAT), draw(outside)]
    for call in draw(st.lists(labelled_calls(b'"arguments"', b'"parameters"'), max_size=2)):
        parts += [(b"<tool_call>", FORMAT), (b"\n", OTHER), *call, (b"</tool_call>", FORMAT), draw(outside)]
    return parts


def cut(text, sizes):
    """Cut bytes into pieces of the given sizes, again and again."""
    pieces, start, count = [], 0, 0
    while start < len(text):
        end = start + sizes[count % len(sizes)]
        pieces.append(text[start:end])
        start, count = end, count + 1
    return pieces


def expected_regions(pieces, parts):
    """The slow way: for every token look at the label of each of its bytes, take the first in precedence."""
    labels = [region for text, region in parts for _ in text]
    result, start = [], 0
    for piece in pieces:
        touched = set(labels[start : start + len(piece)])
        result.append(next((region for region in PRECEDENCE if region in touched), OTHER))
        start += len(piece)
    return result


@pytest.mark.parametrize(("format", "turns"), [("rlla", rlla_turns()), ("hermes", hermes_turns())])
@examples(100)
@given(data=st.data(), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_every_token_of_any_segmentation_has_the_region_of_what_it_touches(tokenizer_of, format, turns, data, sizes):
    rows, masks, regions = [], [], []
    tool_output = [b"<tool_call>", b'{"name": "t"}', b"</think>", b'"']
    for _ in range(data.draw(st.integers(1, 3))):
        row, mask, region = [], [], []
        for _ in range(data.draw(st.integers(1, 2))):
            parts = data.draw(turns)
            pieces = cut(b"".join(text for text, _ in parts), sizes)
            row += pieces + tool_output
            mask += [1] * len(pieces) + [0] * len(tool_output)
            region += [*expected_regions(pieces, parts), *[OTHER] * len(tool_output)]
        rows.append(row)
        masks.append(mask)
        regions.append(region)
    vocabulary = sorted({piece for row in rows for piece in row})
    width = max(map(len, rows)) + 2
    outside = len(vocabulary) + 7
    ids = torch.full((len(rows), width), outside)
    mask, expected = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.int8)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor([vocabulary.index(piece) for piece in row])
        mask[index, : len(row)] = torch.tensor(masks[index])
        expected[index, : len(row)] = torch.tensor(regions[index], dtype=torch.int8)
    tagged = RegionTagger(tokenizer_of(vocabulary), get_format(format))(ids, mask)
    assert (tagged.dtype, tagged.shape) == (torch.int8, ids.shape)
    assert torch.equal(tagged, expected)


@pytest.mark.parametrize(("format", "turns"), [("rlla", rlla_turns()), ("hermes", hermes_turns())])
@given(data=st.data())
def test_every_token_of_the_tokenizers_own_segmentation_has_its_region(tokenizer, format, turns, data):
    parts = data.draw(turns)
    text = b"".join(part for part, _ in parts).decode()
    labels = [region for part, region in parts for _ in part.decode()]
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    expected = []
    for start, end in encoding["offset_mapping"]:
        touched = set(labels[start:end])
        expected.append(next((region for region in PRECEDENCE if region in touched), OTHER))
    ids = torch.tensor([[*encoding["input_ids"], tokenizer.eos_token_id, tokenizer.pad_token_id]])
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    assert RegionTagger(tokenizer, get_format(format))(ids, mask).tolist() == [[*expected, OTHER, OTHER]]


def tag(tokenizer_of, pieces, mask=None, format="rlla"):
    """Regions of one row of pieces."""
    vocabulary = sorted(set(pieces))
    ids = torch.tensor([[vocabulary.index(piece) for piece in pieces]])
    mask = torch.ones_like(ids) if mask is None else torch.tensor([mask])
    return RegionTagger(tokenizer_of(vocabulary), get_format(format))(ids, mask)[0].tolist()


def test_of_two_regions_in_one_token_the_first_in_precedence_wins(tokenizer_of):
    labelled = [
        (b"<think>a", FORMAT),
        (b"b", THINK),
        (b"c</think>\n<tool_call>\n", FORMAT),
        (b'{"name": "f', NAME),
        (b'", "parameters": {', ARGS),
        (b'"a": 1}}\n</tool_', ARGS),
        (b'call>\n<tool_call>{"name": "f", "parameters": {}}', NAME),
        (b"</tool_call><response>d", FORMAT),
        (b"d", RESPONSE),
        (b"d</response>", FORMAT),
    ]
    assert tag(tokenizer_of, [piece for piece, _ in labelled]) == [region for _, region in labelled]


def test_one_byte_is_enough_for_a_token_to_belong_to_a_region(tokenizer_of):
    labelled = [
        (b'x<tool_call>{"name"', FORMAT),
        (b': "', OTHER),
        (b"f", NAME),
        (b'g", ', NAME),
        (b'"parameters": {', ARGS),
        (b"}", ARGS),
        (b"}\n", OTHER),
        (b"\n<", FORMAT),
        (b"/tool_call", FORMAT),
        (b">x", FORMAT),
        (b"x", OTHER),
    ]
    assert tag(tokenizer_of, [piece for piece, _ in labelled]) == [region for _, region in labelled]


def test_a_tag_opened_in_one_turn_does_not_reach_into_the_next(tokenizer_of):
    pieces = [b"<think>", b"a", b"tool", b"b", b"</think>", b"c"]
    regions = tag(tokenizer_of, pieces, [1, 1, 0, 1, 0, 1])
    assert regions == [FORMAT, THINK, OTHER, OTHER, OTHER, OTHER]


def test_a_tag_of_the_tool_does_not_close_the_policys_block(tokenizer_of):
    pieces = [b"<think>", b"a", b"</think>", b"<think>", b"b"]
    assert tag(tokenizer_of, pieces, [1, 1, 0, 1, 1]) == [FORMAT, THINK, OTHER, FORMAT, THINK]


def test_an_open_block_at_the_end_of_a_row_does_not_reach_into_the_next_row(tokenizer_of):
    tagger = RegionTagger(tokenizer_of([b"<think>", b"a"]), get_format("rlla"))
    ids = torch.tensor([[0, 1], [1, 1]])
    assert tagger(ids, torch.ones_like(ids)).tolist() == [[FORMAT, THINK], [OTHER, OTHER]]


def test_ids_without_bytes_are_other_and_do_not_split_a_span(tokenizer_of):
    tagger = RegionTagger(tokenizer_of([b"<think>", b"a"]), get_format("rlla"))
    ids = torch.tensor([[99, 0, 99, 1, -5, 1, 99]])
    assert tagger(ids, torch.ones_like(ids)).tolist() == [[OTHER, FORMAT, OTHER, THINK, OTHER, THINK, OTHER]]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.float32])
def test_the_mask_may_be_of_any_type(tokenizer_of, dtype):
    tagger = RegionTagger(tokenizer_of([b"<think>", b"a"]), get_format("rlla"))
    assert tagger(torch.tensor([[0, 1, 1]]), torch.tensor([[1, 1, 0]]).to(dtype)).tolist() == [[FORMAT, THINK, OTHER]]


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (0, 3), (2, 0)])
def test_a_batch_without_a_generated_token_is_all_other(tokenizer_of, shape):
    tagger = RegionTagger(tokenizer_of([b"<think>"]), get_format("rlla"))
    tagged = tagger(torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long))
    assert (tagged.dtype, tagged.tolist()) == (torch.int8, torch.zeros(shape).tolist())


def test_a_row_without_a_generated_token_leaves_the_others_alone(tokenizer_of):
    tagger = RegionTagger(tokenizer_of([b"<think>", b"a"]), get_format("rlla"))
    ids, mask = torch.tensor([[0, 1], [0, 1], [0, 1]]), torch.tensor([[0, 0], [1, 1], [0, 0]])
    assert tagger(ids, mask).tolist() == [[OTHER, OTHER], [FORMAT, THINK], [OTHER, OTHER]]


def test_the_order_of_the_regions_is_their_precedence():
    assert [region.name for region in sorted(Region)] == ["OTHER", "THINK", "RESPONSE", "FORMAT", "ARGS", "NAME"]


def test_turn_edges_count_generated_tokens():
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], dtype=bool)
    assert turn_edges(mask.ravel(), np.arange(4) * 4).tolist() == [0, 2, 3, 4, 5, 7]


def test_a_span_paints_every_token_that_it_touches_and_a_later_one_paints_over_it():
    starts = np.array([0, 2, 2, 5, 9, 9, 12])  # tokens of 2, 0, 3, 4, 0 and 3 bytes
    assert paint_tokens(starts, [], [], []).tolist() == [OTHER] * 6
    painted = paint_tokens(starts, [THINK, NAME], [1, 4], [6, 5])
    assert painted.tolist() == [THINK, OTHER, NAME, THINK, OTHER, OTHER]
    assert paint_tokens(starts, [ARGS], [2], [12]).tolist() == [OTHER, OTHER, ARGS, ARGS, OTHER, ARGS]


def test_an_unknown_format_or_a_slow_tokenizer_is_refused_at_construction(tokenizer, tokenizer_of):
    with pytest.raises(ValueError, match="unknown wire format 'hermse': did you mean 'hermes'"):
        RegionTagger(tokenizer, get_format("hermse"))
    slow = tokenizer_of([b"a"])
    slow.is_fast = False
    with pytest.raises(TypeError, match="slow tokenizer"):
        RegionTagger(slow, get_format("rlla"))


BATCH = TaggedBatch(
    torch.tensor([[3, 1, 1, 0], [1, 5, 1, 1]], dtype=torch.int8), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
)
VALUES = torch.tensor([[0.5, 1.0, 2.0, 99.0], [6.0, 0.25, float("nan"), 99.0]])


def test_only_generated_tokens_count():
    assert BATCH.counts.tolist() == [0, 3, 0, 1, 0, 1]


def test_means_are_over_the_generated_tokens_of_a_region_in_the_whole_batch():
    assert BATCH.means(VALUES) == {Region.FORMAT: 0.5, Region.THINK: 3.0, Region.NAME: 0.25}


def test_the_mean_over_several_regions_weighs_each_by_its_tokens():
    means = BATCH.means(VALUES)
    assert BATCH.mean_over(means, [Region.THINK, Region.NAME, Region.ARGS]) == pytest.approx((9.0 + 0.25) / 4)
    assert BATCH.mean_over(means, [Region.ARGS]) is None


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_a_batch_without_tokens_has_no_means(shape):
    nothing = torch.zeros(shape)
    batch = TaggedBatch(nothing.to(torch.int8), nothing.bool())
    assert batch.means(nothing) == {}
    assert batch.counts.tolist() == [0] * len(Region)


def test_sums_of_many_tokens_keep_double_precision():
    values = torch.full((1, 1_000_001), 0.1)
    values[0, 0] = 1e6
    means = TaggedBatch(torch.ones_like(values, dtype=torch.int8), torch.ones_like(values).bool()).means(values)
    assert means[Region.THINK] == pytest.approx((1e6 + 1e6 * float(torch.tensor(0.1))) / 1_000_001, rel=1e-9)


MALFORMED = '<think> a < b </think>\n<tool_call>\n{"name": "x", "parameters": {}}\n{"name": "y", \n</tool_call>'


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (MALFORMED, '{"name": "y", '),
        ('<tool_call>\n{"name": "x", "parameters": {}}\n</tool_call>', ""),
        ("<think> I say <tool_call> </think>\n<response> Noon. </response>", ""),
        ("<think> t </think>\n<tool_cal", "\n<tool_cal"),
    ],
)
def test_the_tokens_of_a_malformed_call_are_marked(tokenizer_of, text, broken):
    """The call that cannot be read; in a turn that holds no call but begins like one, all after its reasoning."""
    characters = sorted(set(text))
    tokenizer = tokenizer_of([character.encode() for character in characters])
    ids = torch.tensor([[characters.index(character) for character in text]])
    marked = MalformedTagger(tokenizer, get_format("rlla"))(ids, torch.ones_like(ids))
    found = "".join(character for character, mark in zip(text, marked[0].tolist(), strict=True) if mark)
    assert found.strip() == broken.strip() and set(marked.unique().tolist()) <= {0, 1}
