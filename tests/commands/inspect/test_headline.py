"""The line by which a reader knows a prompt."""

import pytest

from rest_verl.commands.inspect.token_text import LONGEST, headlines


@pytest.mark.parametrize(
    "prompt",
    [
        "<|im_start|>system\nTools.<|im_end|>\n<|im_start|>user\nOld.<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>user\nHow far is Oslo?<|im_end|>\n<|im_start|>assistant\n",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHow far is Oslo?<|eot_id|>",
        "<s>[INST] How far is Oslo? [/INST]",
        "<start_of_turn>user\nHow far is Oslo?<end_of_turn>\n<start_of_turn>model\n",
        "system:\nTools.\nuser:\nHow far is Oslo?",
        "How far is Oslo?",
    ],
)
def test_the_last_users_message_is_found_in_the_templates_of_the_formats(prompt):
    assert headlines([prompt]) == ["How far is Oslo?"]


def test_what_all_prompts_begin_with_is_left_out_where_it_is_long():
    opening = "Answer with a call of one of the tools that you know: "
    assert headlines([f"{opening}Oslo", f"{opening}Lima"]) == ["… Oslo", "… Lima"]
    assert headlines(["To Oslo", "To Lima"]) == ["To Oslo", "To Lima"]
    assert headlines([f"{opening}Oslo"] * 2) == [f"{opening}Oslo"] * 2


def test_a_long_or_hostile_message_becomes_one_short_line():
    (line,) = headlines(["a\u202e\n" + "b" * 1000])
    assert line.startswith("a⟨U+202E⟩ b") and "\n" not in line and len(line) == LONGEST + 1


def test_a_prompt_without_text_has_an_empty_headline():
    assert headlines(["", " \n"]) == ["", ""]
