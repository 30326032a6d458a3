"""Prompts: rlla's text byte for byte, and for each other format examples that its own parser reads; a template of the
user's own replaces the text, runs in a sandbox, and each fault has a file and a line."""

import hashlib
import re

import pytest
from format_view import ANSWER, BOTH, CALLS, FormatView

from rest_verl.core.tool_calls import ToolCall
from rest_verl.data.prompt import make_prompt, rlla_user_message, system_message
from rest_verl.data.template import BUILT_IN, PromptTemplate
from rest_verl.formats import _FORMATS, get_format, register_format
from rest_verl.formats.hermes import HERMES

OTHER_FORMATS = sorted(set(_FORMATS.names()) - {"rlla"})

TOOLS = [
    {
        "name": "find",
        "description": 'Finds <b>"北京"</b> & more.',
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
    {"name": "stop"},
]

# Models trained on ToolRL's rows have seen this layout: no byte of it may change unnoticed.
RLLA = """\
You talk with a user over one or more turns. You answer in text, and you may call tools on the way.

**Available Tools**
1. Name: find
Description: Finds <b>"北京"</b> & more.
Parameters: {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
2. Name: stop
Description:\x20
Parameters: {}

**Steps for Each Turn**
1. **Think:** Work out what the user wants now and what the dialogue already tells you.
2. **Call tools if they help:** Pick the tools that serve the request and fill in their parameters.
3. **Respond if it is time to:** Tell the user the outcome, or say what is missing or cannot be done.

**Output Format**
```plaintext
<think> What you consider before you act </think>
<tool_call>
{"name": "First tool", "parameters": {"First parameter": "its value", "Second parameter": "its value"}}
{"name": "Second tool", "parameters": {"First parameter": "its value"}}
</tool_call>
<response> What you tell the user </response>
```

**Important Notes**
1. Every turn opens with `<think>`. After it comes a `<tool_call>` block, a `<response>`, or one and then the other.
2. A `<tool_call>` block holds one JSON object per line, as many as the request needs. Each has the keys "name" and \
"parameters"; a tool that takes no parameters gets an empty object.
3. The user message holds the dialogue so far: the user's words in `<user>`, your own earlier turns, and what the \
tools returned in `<obs>`."""


def examples(format):
    return re.findall(r"```plaintext\n(.*?)\n```", system_message(TOOLS, format=format), re.DOTALL)


def test_the_rlla_prompt_is_the_known_text_byte_for_byte():
    assert system_message(TOOLS) == RLLA
    assert system_message(TOOLS, " Be brief.\n") == RLLA + "\n\n**Task Instructions**\nBe brief."


def test_without_tools_the_prompt_says_so():
    assert "**Available Tools**\nNone: answer in text.\n\n**Steps" in system_message([])


def test_the_example_of_rlla_is_a_legal_turn_with_two_calls():
    (turn,) = examples("rlla")
    view = FormatView(get_format("rlla"))
    assert view.legal(turn, BOTH)
    assert [call.name for call in view.read_calls(turn)] == ["First tool", "Second tool"]


@pytest.mark.parametrize("format", OTHER_FORMATS)
def test_the_examples_of_a_format_are_a_legal_turn_with_two_readable_calls_and_one_with_an_answer(format):
    calling, answering = examples(format)
    view = FormatView(get_format(format))
    assert view.read_calls(calling) == [
        ToolCall("first_tool", {"first_parameter": "its value", "second_parameter": 3}),
        ToolCall("second_tool", {"first_parameter": "its value"}),
    ]
    assert view.kinds_of(calling)[0] == CALLS and not view.legal(calling, ANSWER)
    assert view.kinds_of(answering)[0] == ANSWER and view.read_calls(answering) == []


@pytest.mark.parametrize("format", OTHER_FORMATS)
def test_every_format_lists_the_same_tools_and_instructions_and_numbers_its_notes(format):
    text = system_message(TOOLS, "Be brief.", format)
    head, tail = text.split("**Output Format**")
    assert head == RLLA.split("**Output Format**")[0]
    notes = tail.split("**Important Notes**\n")[1].split("\n\n**Task Instructions**\nBe brief.")
    numbers = [line.split(".")[0] for line in notes[0].split("\n")]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)] and notes[1] == ""


def test_tools_in_the_schema_of_verl_are_unwrapped():
    assert system_message([{"type": "function", "function": tool} for tool in TOOLS]) == RLLA


@pytest.mark.parametrize("tool", ["find", {}, {"name": None}, {"function": {"name": 3}}])
def test_a_tool_without_a_name_is_refused(tool):
    with pytest.raises(ValueError, match=r"tool 2 of the prompt must be a dict with a string 'name', got"):
        system_message([TOOLS[0], tool])


def test_an_unknown_format_is_met_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown wire format 'hermez': did you mean 'hermes'\?"):
        system_message(TOOLS, format="hermez")


def test_a_registered_format_that_the_template_does_not_explain_asks_for_another_template(monkeypatch):
    monkeypatch.setattr(_FORMATS, "_values", dict(_FORMATS._values))
    register_format("mine", HERMES)
    with pytest.raises(ValueError, match=r"prompt.jinja, line \d+: no section explains .* 'mine'; .* --template"):
        system_message(TOOLS, format="mine")


CALL = '<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
DIALOGUE = [
    {"role": "system", "content": "Speak like a clerk."},
    {"role": "user", "content": "Do f. "},
    {"role": "assistant", "content": CALL},
    {"role": "tool", "content": "[1]"},
    {"role": "tool", "content": "[2]"},
    {"role": "system", "content": "Hurry."},
    {"role": "assistant", "content": "Done."},
]


def test_an_rlla_dialogue_is_one_user_message_with_results_under_their_call():
    system, user = make_prompt(TOOLS, DIALOGUE)
    assert system == {"role": "system", "content": system_message(TOOLS, "Speak like a clerk.\n\nHurry.")}
    assert user["role"] == "user"
    assert user["content"] == (
        f"**Dialogue Records History**\n<user> Do f. </user>\n\n{CALL}\n<obs> [1] </obs>\n<obs> [2] </obs>\n\n"
        "<response> Done. </response>"
    )


def test_in_other_formats_messages_stay_messages():
    system, *rest = make_prompt(TOOLS, DIALOGUE, "hermes")
    assert system["content"] == system_message(TOOLS, "Speak like a clerk.\n\nHurry.", "hermes")
    assert rest == [message for message in DIALOGUE if message["role"] != "system"]


@pytest.mark.parametrize("format", ["rlla", "hermes"])
@pytest.mark.parametrize(
    ("dialogue", "message"),
    [
        ([], "the dialogue is empty"),
        ([DIALOGUE[0]], "the dialogue is empty"),
        ([{"role": "user", "content": None}], "message 1 .*'content' as text"),
        (
            [DIALOGUE[1], {"role": "boss", "content": "Go."}],
            "message 2 .* role 'boss'; allowed: user, assistant",
        ),
        (["hello"], "message 1 .*got 'hello'"),
    ],
)
def test_a_dialogue_that_cannot_be_shown_is_refused(dialogue, message, format):
    with pytest.raises(ValueError, match=message):
        make_prompt(TOOLS, dialogue, format)


def test_a_system_message_among_rlla_turns_is_refused_where_nothing_takes_it():
    with pytest.raises(ValueError, match=r"role 'system'.*allowed: .* Give the text of a system message to system_m"):
        rlla_user_message(DIALOGUE)


ONE_TOOL = [{"name": "find", "description": "Finds 北京.", "parameters": {"a": "<>&'"}}]


@pytest.fixture
def template(tmp_path):
    def write(source):
        path = tmp_path / "mine.jinja"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return PromptTemplate(path)

    return write


def test_it_is_given_tools_instructions_and_format(template):
    mine = template(
        "\n{% for tool in tools %}{{ tool.name }}|{{ tool.description }}|{{ tool.parameters | json }}{% endfor %}\n\n"
        "{{ instructions }} in {{ format }}\n"
    )
    text = system_message(ONE_TOOL, " Hurry. ", "hermes", mine)
    assert text == """find|Finds 北京.|{"a": "<>&'"}\nHurry. in hermes"""


def test_a_copy_of_the_built_in_one_gives_the_same_text_and_digest(template):
    copied = template(BUILT_IN.read_bytes())
    assert copied.sha256 == hashlib.sha256(BUILT_IN.read_bytes()).hexdigest()
    assert system_message(ONE_TOOL, template=copied) == system_message(ONE_TOOL)


@pytest.mark.parametrize(
    ("source", "line", "fault"),
    [
        ("one\n{% for tool in tools %}\n{{ tool.name }}\n", 3, "not a Jinja2 template: .*endfor"),
        ("one\n\n{{ oops", 3, "not a Jinja2 template"),
        (b"one\ntwo \xff", 2, "not UTF-8"),
    ],
)
def test_a_file_that_is_no_template_is_refused_when_it_is_read(template, source, line, fault):
    with pytest.raises(ValueError, match=rf"mine.jinja, line {line}: {fault}"):
        template(source)


@pytest.mark.parametrize(
    ("source", "line", "fault"),
    [
        ("one\n{{ tols }}", 2, "'tols' is undefined"),
        ("{% for tool in tools %}\n{{ tool.nam }}\n{% endfor %}", 2, "no attribute 'nam'"),
        ("one\n\n{{ 1 // 0 }}", 3, "division"),
        ("{{ fail('not for ' ~ format) }}", 1, "not for rlla"),
        ("one\n{{ ''.__class__.__mro__ }}", 2, "unsafe"),
        ("one\n{% include 'mine.jinja' %}", 2, "a template is one file"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", 1, "too big"),
        ("\n{{ tools | json }}", 2, "not JSON serializable"),
    ],
)
def test_a_template_that_fails_is_named_with_its_line(template, source, line, fault):
    mine = template(source)
    with pytest.raises(ValueError, match=rf"mine.jinja, line {line}: .*{fault}"):
        system_message(ONE_TOOL, template=mine)


def test_a_path_without_a_file_says_where_to_start(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.jinja: no such file.*prompt.jinja"):
        PromptTemplate(tmp_path / "nowhere.jinja")
