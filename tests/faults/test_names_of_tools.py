"""What a call names: ids that the list of tools resolves (P5), and names that are no identifiers (P6)."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import labels_of, painted, read, text_of
from render import RENDERERS
from tiers import examples, size

from rest_verl.core.tool_calls import Kind, ToolCall
from rest_verl.formats import get_format

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
EXEC = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
NOTHING = {"type": "object", "properties": {}, "required": []}
OPTIONAL = {"type": "object", "properties": {"zone": {"type": "string"}}}
TOOLS = {"get_weather": WEATHER, "exec": EXEC, "get_time": NOTHING, "Get-News": OPTIONAL}


def kimi(identity, arguments):
    """A section with one call."""
    return (
        f"<|tool_calls_section_begin|><|tool_call_begin|>{identity}<|tool_call_argument_begin|>{arguments}"
        "<|tool_call_end|><|tool_calls_section_end|>"
    )


@pytest.mark.parametrize(
    ("identity", "arguments", "name"),
    [
        ("functions.get_weather:0", {"city": "X"}, "get_weather"),
        ("functions_get_weather_1", {"city": "X"}, "get_weather"),
        ("functionsexec5", {"cmd": "ls"}, "exec"),
        ("get_weather:0", {"city": "X"}, "get_weather"),
        ("get_weather", {"city": "X"}, "get_weather"),
        ("functions.get-weather:0", {"city": "X"}, "get_weather"),
        ("FUNCTIONS.GET_WEATHER:0", {"city": "X"}, "get_weather"),
        ("functions.Get-News:0", {}, "Get-News"),
        ("call_0", {"cmd": "ls"}, "exec"),
        ("call_0", {"cmd": "ls", "city": "X"}, "call_0"),
        ("exec_get_weather:0", {"city": "X"}, "get_weather"),
        ("exec_get_weather:0", {}, "exec_get_weather"),
        ("functions.fly:3", {"a": 1}, "fly"),
    ],
)
def test_an_id_of_kimi_is_resolved_with_the_list_of_tools(identity, arguments, name):
    assert read("kimi", kimi(identity, json.dumps(arguments)), TOOLS) == [ToolCall(name, arguments)]


def test_a_tool_whose_name_holds_another_is_called_by_its_id():
    """verl finds both names in the id, and runs neither."""
    tools = {"weather": WEATHER, "get_weather": WEATHER, "functions.odd:1": NOTHING}
    assert read("kimi", kimi("functions.get_weather:0", '{"city": "X"}'), tools)[0].name == "get_weather"
    assert read("kimi", kimi("functions.weather:0", '{"city": "X"}'), tools)[0].name == "weather"
    assert read("kimi", kimi("functions.odd:1", "{}"), tools)[0].name == "functions.odd:1"


@pytest.mark.parametrize("written", ["", "  ", "\n"])
def test_empty_arguments_of_kimi_are_none_where_none_is_required(written):
    assert read("kimi", kimi("functions.get_time:0", written), TOOLS) == [ToolCall("get_time", {})]
    assert read("kimi", kimi("functions.Get-News:0", written), TOOLS) == [ToolCall("Get-News", {})]
    for identity, tools in (
        ("functions.get_weather:0", TOOLS),
        ("functions.fly:0", TOOLS),
        ("functions.get_time:0", {}),
    ):
        assert read("kimi", kimi(identity, written), tools) == [None]


@examples(1000)
@given(
    st.text("functions._:-0123exwathrgti ", max_size=24),
    st.dictionaries(st.sampled_from(["city", "cmd", "zone"]), st.just("x")),
    st.sets(st.sampled_from(["get_weather", "exec", "weather", "ex", "get-time"]), min_size=1),
)
def test_kimis_ids_are_resolved_as_verl_resolves_them(identity, arguments, names):
    """But for an id whose own name is a tool, which verl may take for another."""
    parser = pytest.importorskip("verl.experimental.agent_loop.tool_parser").KimiToolParser
    schemas = pytest.importorskip("verl.tools.schemas")
    tools = {name: {"exec": EXEC, "get_weather": WEATHER}.get(name, NOTHING) for name in sorted(names)}
    described = [
        schemas.OpenAIFunctionToolSchema.model_validate(
            {"type": "function", "function": {"name": name, "description": "", "parameters": schema}}
        )
        for name, schema in tools.items()
    ]
    (call,) = read("kimi", kimi(identity, json.dumps(arguments)), tools)
    resolved = parser._infer_tool_name(identity.strip(), arguments, described)
    own = re.sub(r":\d*\Z", "", identity.strip().removeprefix("functions."))
    expected = own if own in tools or resolved not in tools else resolved
    assert (call.name if call else "") == expected


NAMES = [
    "Market Trends API",
    "currencies/list",
    "v1/users/get",
    "get-weather",
    "3000 Years Meme Generator",
    "3d_render",
    "5meCbmKMiO333Rj",
    "math.factorial",
    ".CzXC",
    "wetter_für_zürich",
    "天气 查询",
    "Year-End Billboard 200 Albums",
    "6-TimeSeries Endpoint: Currency Exchange Rate",
    "Chaikin A/D Oscillator (ADOSC)",
    "DAX Point Changes for Each Month (January-August, 2022)",
    "import",
    "json",
    "Post code",
]


@pytest.mark.parametrize("format", sorted(RENDERERS))
@pytest.mark.parametrize("name", NAMES)
def test_a_tool_of_any_name_is_called_and_its_name_is_tagged(format, name):
    """Without the list of tools as well, among other calls, and where the turn breaks off after the name."""
    calls = [(name, {"country": "us", "n": 3}), ("f", {"a": 1}), (name, {})]
    parts = RENDERERS[format]("", calls, "")
    text = text_of(parts)
    wire_format = get_format(format)
    turn = wire_format.parse(text)
    assert wire_format.is_legal(text, turn, Kind(calls=True, answer=False))
    for tools in ({}, {name: NOTHING, "f": NOTHING}):
        assert wire_format.read_calls(text, turn, tools) == [ToolCall(*call) for call in calls]
    assert painted(turn, len(text)) == labels_of(parts)


@pytest.mark.parametrize(
    "text",
    [
        "[see note (1)]",
        "[see note (a=1)]",
        "[note (see below)]",
        "[Smith et al. (2020)] says so.",
        "[Figure 2(a)] shows f(x=1).",
        "[link](https://example.org/?a=1)",
        "[see section 3(b), f(c)]",
        "[the list x, y and z]",
        "[a == b (c == d)]",
        "[if x(y) == z(w)]",
        "[TODO]",
        "[3 apples (red)]",
    ],
)
def test_prose_in_brackets_stays_an_answer(text):
    turn = get_format("pythonic").parse(text.encode())
    assert (turn.calls, turn.markers, turn.response) == ([], [], [(0, len(text))])


def test_the_list_of_tools_says_where_a_name_of_gpt_oss_ends():
    text = "<|channel|>commentary to=functions.get_weather please<|message|>{}<|call|>"
    assert read("gpt-oss", text) == [ToolCall("get_weather please", {})]
    assert read("gpt-oss", text, {"get_weather": WEATHER}) == [ToolCall("get_weather", {})]
    assert read("gpt-oss", text, {"get_weather please": WEATHER}) == [ToolCall("get_weather please", {})]
    typed = text.replace("get_weather please", "Post code")
    assert read("gpt-oss", typed) == read("gpt-oss", typed, {"Post": WEATHER}) == [ToolCall("Post", {})]
    assert read("gpt-oss", typed, {"Post code": WEATHER}) == [ToolCall("Post code", {})]


@pytest.mark.soon
@pytest.mark.parametrize("format", ["pythonic", "mistral", "gemma4", "gpt-oss", "kimi"])
@pytest.mark.parametrize(
    "piece",
    [
        *("[", "(", ",", "[a ", "a (", "a (b) ", "a(b)", ", a b(c", "f(x=", " ", "[TOOL_CALLS]a b ", "call: "),
        *("call:a b ", "to=a ", " json", "<|tool_call_begin|>a:1", "<|tool_call_argument_begin|>"),
    ],
)
def test_hostile_names_are_read_in_linear_time(format, piece):
    begin = {
        "pythonic": "[a b(c=1), ",
        "mistral": "[TOOL_CALLS]",
        "gemma4": "<|tool_call>",
        "gpt-oss": " to=",
        "kimi": "",
    }
    text = (begin[format] + piece * (size(1_000_000) // len(piece))).encode()
    wire_format = get_format(format)
    wire_format.read_calls(text, wire_format.parse(text), TOOLS)
