"""The state in which a token was sampled: known from the text before it, in every wire format."""

import itertools

import pytest
import torch
from parts import ARGS, FORMAT, NAME, OTHER, RESPONSE, THINK, Call, text_of
from render import CALLS_OR_ANSWER, RENDERERS

from rest_verl.core.regions import Region
from rest_verl.core.states import OUTSIDE, StateTagger, state_spans
from rest_verl.formats import get_format

THOUGHTS = ["", "t", "I see", "I think: {f}."]
CALLS: list[Call] = [
    ("get_weather", {"city": "Zürich", "days": [3, {"name": "x"}]}),
    ("get_time", {"city": "Paris"}),
    ("g.h", {"a": 'b "c" </d>\n'}),
]
CHOSEN = [[], CALLS[:1], CALLS[1:2], CALLS[:2], [CALLS[0], CALLS[2]], CALLS]
ANSWERS = ["", "It", "It is [so].", "No (x=1)."]
LETTERS = {THINK: "t", RESPONSE: "r", FORMAT: ".", ARGS: "a", NAME: "n"}


def states_of(format: str, text: bytes) -> list[Region]:
    """The state of a token that begins at each byte of a turn, and at its end."""
    states = [OUTSIDE] * (len(text) + 1)
    for state, (begin, end) in state_spans(text, get_format(format).parse(text)):
        states[begin:end] = [state] * len(states[begin:end])
    return states


def rendered(format: str) -> list[bytes]:
    """Legal turns that agree up to any of their choices: reasoning or none, which calls and how many, which answer."""
    turns = itertools.product(THOUGHTS, CHOSEN, ANSWERS)
    both = format not in CALLS_OR_ANSWER
    return sorted({text_of(RENDERERS[format](*turn)) for turn in turns if both or not (turn[1] and turn[2])})


@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_all_choices_of_a_branch_have_one_state(format):
    """For turns that have a prefix in common, the next token has one state, whatever it and the rest will be."""
    after: dict[bytes, Region] = {}
    branches: dict[bytes, set[bytes]] = {}
    for text in rendered(format):
        for begin, state in enumerate(states_of(format, text)):
            prefix = text[:begin]
            assert after.setdefault(prefix, state) == state, (prefix, text[begin:])
            branches.setdefault(prefix, set()).add(text[begin : begin + 1])
    assert sum(len(choices) > 1 for choices in branches.values()) >= 4


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        (
            "hermes",
            '<think>so</think>\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
            # its first word and its closing tag are decided in the reasoning only once that has begun
            "........ttttttttt......................." + "nn...............aaaaaaaaa..............",
        ),
        ("hermes", "An answer.", ".rrrrrrrrrr"),
        ("rlla", "<think>a</think>\n<response>b c</response>", "........tttttttt............rrrrrrrrrrrrr."),
        ("pythonic", "[f(a=1)]", ".nnaaaaa."),
    ],
)
def test_states_of_a_turn(format, text, expected):
    found = "".join(LETTERS[state] for state in states_of(format, text.encode()))
    assert found == expected, found


def tag(tokenizer_of, rows, format="hermes"):
    """States of rows of tokens; None is a token that a tool wrote, "" the end of a turn."""
    pieces = sorted({token for row in rows for token in row if token})
    width = max(map(len, rows))
    ids, mask = torch.full((len(rows), width), len(pieces)), torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        for column, token in enumerate(row):
            mask[place, column] = token is not None
            if token:
                ids[place, column] = pieces.index(token)
    return StateTagger(tokenizer_of(pieces), get_format(format))(ids, mask).tolist()


def test_a_token_has_the_state_of_where_it_begins(tokenizer_of):
    """A token across the beginning of a name is decided before it, one across the end of a name in it."""
    row = [b'<tool_call>\n{"name": ', b'"get', b'_time", "arg', b'uments": ', b'{"a": 1', b"}}", b"\n</tool_call>"]
    assert tag(tokenizer_of, [row]) == [[FORMAT, FORMAT, NAME, FORMAT, ARGS, ARGS, FORMAT]]


def test_the_end_of_sequence_is_a_choice_of_where_it_stands(tokenizer_of):
    """After an answer it competes with another word; after a call with another block; in a reasoning with its end."""
    call = [b"<tool_call>\n", b'{"name": "f", "arguments": {}}\n', b"</tool_call>"]
    rows = [[b"It", b" is", ""], [*call, ""], [b"<think>", b"so", b" on", ""]]
    assert tag(tokenizer_of, rows) == [
        [FORMAT, RESPONSE, RESPONSE, OTHER],
        [FORMAT, FORMAT, FORMAT, FORMAT],
        [FORMAT, FORMAT, THINK, THINK],
    ]


def test_every_turn_of_a_row_begins_outside(tokenizer_of):
    """Neither the end of one turn nor what a tool wrote reaches into the next, and masked tokens have no state."""
    row = [b"It", b" is", "", None, None, b"So", b" what", "", b"No", b"!"]
    found = tag(tokenizer_of, [row])[0]
    assert found[:8] == [FORMAT, RESPONSE, RESPONSE, OTHER, OTHER, FORMAT, RESPONSE, RESPONSE]
