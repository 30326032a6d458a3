"""In every wire format: turns whose bytes were labelled while they were put together, and hostile ones; the table
"Ground truths in every format" of docs/formats.md is that of the present code."""

import re
from collections.abc import Iterator
from itertools import accumulate

import bfcl_calls
import make_formats
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parts import ARGS, FORMAT, NAME, Part, labels_of, painted, text_of
from render import CALLS_OR_ANSWER, RENDERERS
from tiers import examples, in_full, size

from rest_verl.core.regions import RegionTagger
from rest_verl.core.tool_calls import Kind, Span, ToolCall, Turn
from rest_verl.formats import get_format

RENDERED = [
    (
        "get_weather",
        {"city": "Zürich 東京 🙂", "days": 3, "units": {"name": "metric", "deep": [1, {"a": [True, None]}]}},
    ),
    ("math.factorial", {"n": -5, "exact": True, "x": 1.5e-7}),
    ("no_arguments", {}),
    ("write", {"text": 'a "quoted" \\ back\\slash {brace [bracket], (paren) \t tab', "list": ["", "a,b", "c=d"]}),
    ("lines", {"text": "first\nsecond\r\nthird", "lines": ["one\n", " two "]}),
]
THOUGHT = "I need {two} tools: \"a\" and 'b', then f(x=1)."


@pytest.mark.parametrize("calls", [RENDERED, RENDERED[:1], [], [RENDERED[2]], *[[call] for call in RENDERED[1:]]])
@pytest.mark.parametrize("thought", [THOUGHT, ""])
@pytest.mark.parametrize("answer", ["It rains: 3 < 5 & 7 > 2.", ""])
@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_a_rendered_turn_is_labelled_legal_and_read_back(format, calls, thought, answer):
    wire_format = get_format(format)
    parts = RENDERERS[format](thought, calls, answer)
    text = text_of(parts)
    turn = wire_format.parse(text)
    assert painted(turn, len(text)) == labels_of(parts), text
    if (calls or answer) and not (calls and answer and format in CALLS_OR_ANSWER):
        assert wire_format.is_legal(text, turn, Kind(calls=bool(calls), answer=bool(answer))), text
    assert wire_format.read_calls(text, turn) == [ToolCall(name, arguments) for name, arguments in calls], text


KINDS = [Kind(calls, answer) for calls in (True, False) for answer in (True, False)]

CALLS = [("get_weather", {"city": "Zürich", "days": [3, {"name": "x"}]}), ("f", {}), ("g.h", {"a": 'b "c" </d>\n'})]


def turns(format: str) -> list[list[Part]]:
    """Labelled turns of a format: calls with everything beside them, calls alone, an answer alone."""
    render = RENDERERS[format]
    return [render("I think: {f}.", CALLS, "It is [so]."), render("", CALLS[:2], ""), render("t", [], "No (x=1).")]


def markers_of(format: str) -> set[bytes]:
    """The markers in these turns."""
    return {text for turn in turns(format) for text, region in turn if text and region == FORMAT}


MARKERS = sorted(set().union(*map(markers_of, RENDERERS)))
FRAGMENTS = [
    *(bytes([byte]) for byte in b"\"'\\{}[]():,=<>|/ \n\0\xff\xc3"),
    b"\r\n",
    b"</",
    b"```",
    b'"name"',
    b'"arguments": {',
    b'{"name": "f", "arguments": {}}',
    b"[f(a=1)]",
    *(b"<|observation|>", b"<|user|>", b"<|im_end|>", b"<turn|>", b"<|eot_id|>"),
    "🙂\ud800".encode("utf-8", "surrogatepass"),
]


def parts_of(format: str) -> list[bytes]:
    """The text of each part of these turns."""
    return [text for turn in turns(format) for text, _ in turn if text]


def texts(format: str) -> st.SearchStrategy[bytes]:
    """Parts and slices of rendered turns, markers of all formats and fragments, in any order."""
    wholes = [text_of(turn) for turn in turns(format)]
    slices = st.builds(
        lambda whole, begin, size: whole[begin : begin + size],
        st.sampled_from(wholes),
        st.integers(0, max(map(len, wholes))),
        st.integers(1, max(map(len, wholes))),
    )
    pieces = st.sampled_from(parts_of(format)) | slices | st.sampled_from(MARKERS) | st.sampled_from(FRAGMENTS)
    return st.lists(pieces | st.binary(max_size=3), max_size=20).map(b"".join)


def assert_sound(text: bytes, turn: Turn) -> None:
    """Every span lies in the text, is not empty and comes in order; a call's name and arguments lie in the call."""
    for spans in (turn.markers, turn.think, turn.response, [call.whole for call in turn.calls]):
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)
    for call in turn.calls:
        for start, end in filter(None, (call.name, call.arguments)):
            assert call.whole[0] <= start <= end <= call.whole[1]
        # an argument has a byte at least, a name need not: `"name": ""` is a name of no bytes
        assert call.arguments is None or call.arguments[0] < call.arguments[1]


@pytest.mark.parametrize("format", sorted(RENDERERS))
@examples(200)
@given(data=st.data())
def test_any_bytes_are_parsed_judged_and_read(format, data):
    text = data.draw(texts(format) | st.binary(max_size=60))
    wire_format = get_format(format)
    turn = wire_format.parse(text)
    assert_sound(text, turn)
    legal = [wire_format.is_legal(text, turn, kind) for kind in KINDS]
    assert all(type(one) is bool for one in legal)
    # a malformed call is instead of any call, and such a turn is no answer
    if wire_format.is_malformed_call(text, turn):
        assert not turn.calls and (not any(legal) or not turn.response)
    for call in wire_format.read_calls(text, turn):
        assert call is None or (type(call), type(call.name), type(call.arguments)) == (ToolCall, str, dict)


def end_of_settled(turn: list[Part], cut: int) -> int:
    """Where in a rendered turn the bytes end that no text behind the cut can change: before the marker or the tag of a
    parameter that the cut parts, and before white space."""
    text = text_of(turn)
    end = cut
    for start, (part, region) in zip(accumulate((len(part) for part, _ in turn), initial=0), turn, strict=False):
        if region == FORMAT and start < cut < start + len(part):
            end = start
    tag = text.rfind(b"<", 0, cut)
    if tag >= 0 and b">" not in text[tag:cut]:
        end = min(end, tag)
    return len(text[:end].rstrip())


@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_a_rendered_turn_cut_anywhere_has_the_regions_of_the_whole_up_to_the_tag_that_is_cut(format):
    parse = get_format(format).parse
    for turn in turns(format):
        text, regions = text_of(turn), labels_of(turn)
        for cut in range(len(text) + 1):
            end = end_of_settled(turn, cut)
            assert painted(parse(text[:cut]), cut)[:end] == regions[:end], text[:cut]


def first_change(format: str, text: bytes) -> str:
    """The first byte before any cut whose region the text behind it changes, unless it may; "" if there is none."""
    parse = get_format(format).parse
    turn = parse(text)
    regions = painted(turn, len(text))
    for cut in range(len(text)):
        prefix = parse(text[:cut])
        before = painted(prefix, cut)
        if before != regions[:cut]:
            free = [position for span in may_change(text, turn, prefix, cut) for position in range(*span)]
            for position in sorted(set(range(cut)).difference(free)):
                if before[position] != regions[position]:
                    change = f"{before[position].name} to {regions[position].name}"
                    return f"byte {position} of {text[:cut]!r} changes from {change} with {text[cut:]!r}"
    return ""


def may_change(text: bytes, turn: Turn, prefix: Turn, cut: int) -> Iterator[Span]:
    """Stretches before the cut that the text behind it may change; no other byte may.

    - Reasoning, an answer or a call that the cut parts; reasoning together with its closing marker, since the prompt
      may have opened it.
    - A call that is open at the cut, and what is answer around it when it turns out to be part of an answer.
    - A marker that the cut parts, or that is one at the very end of a turn only; white space before it or the cut.

    Args:
        text: the whole text.
        turn: its parse.
        prefix: the parse of text[:cut].
        cut: where the text is cut.
    """
    closing = dict(turn.markers)
    parted = [(start, closing.get(end, end)) for start, end in turn.think]
    parted += [*turn.response, *(call.whole for call in turn.calls)]
    yield from (span for span in parted if span[0] < cut < span[1])

    written = len(text[:cut].rstrip())
    for start in (call.whole[0] for call in prefix.calls if not call.complete and call.whole[1] >= written):
        yield min([start, *(begin for begin, end in turn.response if begin <= start < end)]), cut

    at_the_end = [start for start, end in prefix.markers if end == written and (start, end) not in turn.markers]
    begun = min([*at_the_end, *(start for start, end in turn.markers if start < cut < end)], default=cut)
    yield len(text[:begun].rstrip()), cut


@pytest.mark.parametrize("format", sorted(RENDERERS))
@examples(100)
@given(data=st.data())
def test_the_text_behind_any_cut_of_hostile_text_changes_no_region_before_it(format, data):
    assert first_change(format, data.draw(texts(format))) == ""


@pytest.mark.parametrize("format", sorted(RENDERERS))
@examples(50)
@given(data=st.data())
def test_a_batch_of_any_tokens_keeps_its_shape_and_is_other_where_the_mask_is_zero(tokenizer_of, format, data):
    pieces = sorted({*parts_of(format), *FRAGMENTS})
    rows, width = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 25))
    numbers = [data.draw(st.integers(-1, len(pieces))) for _ in range(rows * width)]  # with some outside of all ids
    ids, mask = torch.tensor(numbers).view(rows, width), torch.ones(rows, width, dtype=torch.long)
    mask.view(-1)[data.draw(st.lists(st.integers(0, rows * width - 1)))] = 0
    tagged = RegionTagger(tokenizer_of(pieces), get_format(format))(ids, mask)
    assert (tagged.shape, tagged.dtype) == (ids.shape, torch.int8)
    assert not tagged[mask == 0].any()


def openings(format: str) -> list[bytes]:
    """Each marker of a format, and how a turn of calls begins, up to the end of its first name and first arguments."""
    turn = turns(format)[1]
    first = [next(count for count, part in enumerate(turn, start=1) if part[1] == region) for region in (NAME, ARGS)]
    return sorted(markers_of(format) | {text_of(turn[:count]) for count in first})


@pytest.mark.soon
@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_a_megabyte_of_openings_is_parsed_judged_and_read(format):
    wire_format = get_format(format)
    for opening in openings(format):
        text = opening * (size(1_000_000) // len(opening))
        turn = wire_format.parse(text)
        assert type(wire_format.is_legal(text, turn, Kind(calls=True, answer=False))) is bool
        assert len(wire_format.read_calls(text, turn)) == len(turn.calls)


needs_bfcl = pytest.mark.skipif(bfcl_calls.MISSING is not None, reason=str(bfcl_calls.MISSING))


def listed():
    """By id, the formats in which the page says that a ground truth does not pass."""
    page = make_formats.PAGE.read_text(encoding="utf-8")
    table = page.partition(make_formats.BEGIN)[2].partition(make_formats.END)[0]
    found: dict[str, set[str]] = {}
    for formats, ids in re.findall(r"^- in ([^:]*): (.*)$", table, re.MULTILINE):
        named = set(make_formats.RENDERERS) if formats == "all formats" else set(re.findall("`([^`]*)`", formats))
        for id in re.findall("`([^`]*)`", ids):
            found.setdefault(id, set()).update(named)
    return found


@needs_bfcl
def test_a_ground_truth_passes_wherever_the_page_does_not_list_it():
    known = listed()
    for format, sets in make_formats.matrix(in_full(60, 1)).items():
        for cells in sets.values():
            failing = {id for rules in make_formats.RULES for id in cells[rules]}
            assert {id for id in failing if format not in known.get(id, ())} == set()


@needs_bfcl
@pytest.mark.release
@pytest.mark.skipif(not make_formats.SHARED.is_dir(), reason="ToolRL's rows are not part of this project")
def test_the_page_has_the_table_of_the_present_code():
    assert make_formats.page() == make_formats.PAGE.read_text(encoding="utf-8")
