"""The example turn of each format, through tokenizers that keep it and through ones that do not."""

import pytest
from make_tokenizers import t5
from render import RENDERERS

from rest_verl.commands.doctor.tokenizer import check_tokenizer, example_turn
from rest_verl.core.tool_calls import Kind
from rest_verl.formats import get_format


@pytest.fixture
def saved(tokenizer, tmp_path):
    """Function that saves the trained tokenizer, with a chat template or without one; gives the folder."""

    def save(template):
        tokenizer.save_pretrained(tmp_path)
        if template:
            (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
        return str(tmp_path)

    return save


@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_the_example_of_each_format_is_a_legal_turn_with_two_calls(format):
    text = example_turn(format).encode()
    wire_format = get_format(format)
    turn = wire_format.parse(text)
    assert len(turn.calls) == 2 and None not in wire_format.read_calls(text, turn)
    assert any(wire_format.is_legal(text, turn, Kind(calls=True, answer=answer)) for answer in (False, True))


@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_each_format_is_tagged_through_a_tokenizer_of_bytes(format):
    (finding,) = check_tokenizer(None, format)
    assert finding.level == "ok" and finding.found.startswith("2 calls in "), finding


def test_the_names_of_the_example_are_counted_byte_by_byte():
    (finding,) = check_tokenizer(None, "hermes")
    assert f"{len('first_tool' + 'second_tool')} of NAME" in finding.found


def test_a_tokenizer_in_a_folder_is_tried(saved):
    folder = saved(template=True)
    (finding,) = check_tokenizer(folder, "rlla")
    assert finding.level == "ok" and finding.found.endswith(folder)


def test_a_tokenizer_without_a_chat_template_is_a_failure(saved):
    (finding,) = check_tokenizer(saved(template=False), "rlla")
    assert finding.level == "failure" and "has no chat template" in finding.found


def test_a_folder_without_a_tokenizer_is_a_failure(tmp_path):
    (finding,) = check_tokenizer(tmp_path, "rlla")
    assert finding.level == "failure" and f"no tokenizer can be read from {tmp_path}" in finding.found


def test_a_tokenizer_that_does_not_know_the_formats_characters_is_a_failure(tmp_path):
    t5().save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (finding,) = check_tokenizer(tmp_path, "deepseek_v4")
    assert finding.level == "failure" and "cannot be recovered" in finding.found
