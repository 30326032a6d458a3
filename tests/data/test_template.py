"""A template of the user's own: it replaces the text, runs in a sandbox, and each fault has a file and a line."""

import hashlib

import pytest

from rest_verl.data.prompt import system_message
from rest_verl.data.template import BUILT_IN, PromptTemplate

TOOLS = [{"name": "find", "description": "Finds 北京.", "parameters": {"a": "<>&'"}}]


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
    text = system_message(TOOLS, " Hurry. ", "hermes", mine)
    assert text == """find|Finds 北京.|{"a": "<>&'"}\nHurry. in hermes"""


def test_a_copy_of_the_built_in_one_gives_the_same_text_and_digest(template):
    copied = template(BUILT_IN.read_bytes())
    assert copied.sha256 == hashlib.sha256(BUILT_IN.read_bytes()).hexdigest()
    assert system_message(TOOLS, template=copied) == system_message(TOOLS)


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
        system_message(TOOLS, template=mine)


def test_a_path_without_a_file_says_where_to_start(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.jinja: no such file.*prompt.jinja"):
        PromptTemplate(tmp_path / "nowhere.jinja")
