"""The page is one file that asks nobody for anything, and holds no text of a trajectory as markup; the bytes that
carry a step into it, and the line by which a reader knows a prompt."""

import base64
import gzip
import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from record_tables import Part, record, records_of, unpack

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import pack, step_data
from rest_verl.commands.inspect.token_text import LONGEST, headlines

HOSTILE = "</script><script>steal(1)</script>"


@pytest.fixture(scope="module")
def page():
    data = step_data(records_of([record([Part(HOSTILE)], uid=HOSTILE, prompt=HOSTILE)]))
    return render_page(f"{HOSTILE}\u202e", [PageStep(3, 1, 1, data)])


def hash_of(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == (
        f"default-src 'none'; script-src {hash_of(script)}; style-src {hash_of(style)}; base-uri 'none'; "
        "form-action 'none'"
    )


def test_no_address_and_no_attribute_with_code_or_style_is_in_the_page(page):
    without_names = page.replace('"http://www.w3.org/2000/svg"', "")  # of SVG's elements; nobody fetches it
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=", without_names)
    assert not re.search(r"<[^>]*\s(style|on\w+)=", page)


def test_no_text_of_a_trajectory_and_no_title_is_markup(page):
    assert "steal" not in page.replace("&lt;script&gt;steal(1)&lt;/script&gt;", "")
    assert "\u202e" not in page and "⟨U+202E⟩" in page


def test_the_same_records_give_the_same_page(page):
    data = step_data(records_of([record([Part(HOSTILE)], uid=HOSTILE, prompt=HOSTILE)]))
    assert render_page(f"{HOSTILE}\u202e", [PageStep(3, 1, 1, data)]) == page


def test_text_is_never_read_as_markup_by_the_script(page):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)


NUMBERS = arrays(np.dtype("<f4"), st.integers(0, 9), elements=st.floats(width=32))


@given(st.dictionaries(st.text(max_size=5), st.text()), NUMBERS, arrays(np.uint8, st.integers(0, 9)))
def test_header_and_arrays_come_back_bit_by_bit(header, numbers, flags):
    header.pop("arrays", None)
    got_header, got = unpack(pack(header, {"numbers": numbers, "flags": flags}))
    assert got_header == header
    assert got["numbers"].tobytes() == numbers.tobytes() and got["flags"].tobytes() == flags.tobytes()


def test_the_layout_is_what_the_module_says():
    packed = pack({"a": "ü"}, {"flags": np.array([7], np.uint8), "numbers": np.array([1.5], "<f4")})
    whole = gzip.decompress(packed)
    length = int.from_bytes(whole[:4], "little")
    assert length % 4 == 0 and whole[4 : 4 + length].isascii()
    header = json.loads(whole[4 : 4 + length])
    assert header == {"a": "ü", "arrays": [["flags", "|u1", 0, 1], ["numbers", "<f4", 4, 1]]}
    assert whole[4 + length :] == b"\x07\0\0\0" + np.float32(1.5).tobytes()


def test_the_same_input_gives_the_same_bytes():
    numbers = {"numbers": np.arange(9, dtype="<f4")}
    assert pack({"a": 1}, numbers) == pack({"a": 1}, numbers)


def test_another_dtype_and_a_number_outside_of_json_are_refused():
    with pytest.raises(ValueError, match=r"array 'x' of dtype <f8: allowed: <f4, <u4, \|u1"):
        pack({}, {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="JSON"):
        pack({"x": float("nan")}, {})


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
