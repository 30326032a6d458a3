"""Files of texts: what a line may hold, and what is said of one that is wrong."""

import json

import pytest

from rest_verl.commands.inspect.sources import Message, TextRow, read_rows


@pytest.fixture
def rows_of(tmp_path):
    def read(*lines):
        path = tmp_path / "texts.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return read_rows(path)

    return read


def test_a_response_of_text_is_one_message_of_the_assistant(rows_of):
    line = {"response": "Hi.", "prompt": "Say hi.", "score": 1, "data_source": "mine", "other": [1]}
    assert rows_of(line, "  ", {"response": ""}) == [
        TextRow((Message("assistant", "Hi."),), "Say hi.", 1.0, "mine"),
        TextRow((Message("assistant", ""),), "", None, None),
    ]


def test_messages_keep_who_said_them(rows_of):
    messages = [
        {"role": "assistant", "content": "<tool_call>"},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "It is 42."},
    ]
    (row,) = rows_of({"response": messages, "prompt": [{"role": "user", "content": "What?"}]})
    assert [(one.role, one.content) for one in row.messages] == [tuple(one.values()) for one in messages]
    assert row.prompt == "user:\nWhat?"


def test_the_names_in_verls_own_files_will_do(rows_of):
    (row,) = rows_of({"input": "Say hi.", "output": "Hi.", "gts": None, "score": 0.5, "step": 3})
    assert row == TextRow((Message("assistant", "Hi."),), "Say hi.", 0.5, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting"),
        ("[" * 100_000, "recursion"),
        ('"text"', "'text' is not an object"),
        ({"respnse": "a"}, "no key response, .* the keys are: respnse"),
        ({"response": 3}, "response=3 must be text or a list of messages"),
        ({"response": []}, "response=\\[\\] must be text or a list"),
        ({"response": "a", "output": "b"}, "both response and output"),
        ({"response": [{"role": "assistant"}]}, r"response\[0\]: .* with role and content, both text"),
        ({"response": [{"role": "agent", "content": ""}]}, "role='agent': allowed: assistant, system, tool, user"),
        ({"response": [{"role": "tool", "content": "a"}]}, "no text by the model"),
        ({"response": [{"role": "assistant", "content": "a"}] * 2}, r"response\[1\]: two assistant messages"),
        ({"response": "a", "score": "1"}, "score='1' must be a number or null"),
        ({"response": "a", "score": True}, "score=True must be a number"),
        ('{"response": "a", "score": NaN}', "score=nan must be a number"),
        ({"response": "a", "data_source": 1}, "data_source=1 must be text or null"),
        ({"response": "a", "prompt": 1}, "prompt=1 must be text or a list of messages"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_expected(rows_of, line, message):
    with pytest.raises(ValueError, match=rf"texts\.jsonl:2: .*{message}"):
        rows_of({"response": "fine"}, line)


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "texts.jsonl").write_bytes(b'{"response": "a"}\n{"response": "\xff"}\n')
    with pytest.raises(ValueError, match=r"texts\.jsonl:2: .*utf-8"):
        read_rows(tmp_path / "texts.jsonl")


def test_a_file_without_lines_is_refused(rows_of):
    with pytest.raises(ValueError, match=r"texts\.jsonl: no lines"):
        rows_of("")
