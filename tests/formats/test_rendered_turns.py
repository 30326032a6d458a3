"""In every wire format: turns whose bytes were labelled while they were put together."""

import pytest
from parts import labels_of, painted, text_of
from render import CALLS_OR_ANSWER, RENDERERS

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.formats import get_format

CALLS = [
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


@pytest.mark.parametrize("calls", [CALLS, CALLS[:1], [], [CALLS[2]], *[[call] for call in CALLS[1:]]])
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
